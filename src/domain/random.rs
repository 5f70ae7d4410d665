//! Chance as an injected part, so that a seed replays a run.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use super::Token;

/// A source of random numbers that many tasks share.
pub trait Random: Send + Sync + 'static {
    /// Sixty-four random bits.
    fn bits(&self) -> u64;

    /// A number in `[0, 1)`.
    fn unit(&self) -> f64 {
        // The upper 53 bits are as many as a double holds exactly.
        #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
        let numerator = (self.bits() >> 11) as f64;
        numerator / 9_007_199_254_740_992.0
    }

    /// A lease token that nobody else draws: 128 bits in hexadecimal digits.
    fn token(&self) -> Token {
        Token::new(format!("{:016x}{:016x}", self.bits(), self.bits()))
    }
}

/// The operating system's randomness, stretched by a cryptographic generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn bits(&self) -> u64 {
        rand::random()
    }
}

/// The same numbers for the same seed, on every machine and in every version. For tests and the simulator.
///
/// `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014), written out here because libraries reserve the right to change theirs.
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    /// The generator that `seed` names.
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl fmt::Debug for SeededRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeededRandom(at {:#x})", self.0.load(Ordering::Relaxed))
    }
}

impl Random for SeededRandom {
    fn bits(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_sequence() {
        let random = SeededRandom::new(1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn the_unit_interval_excludes_one() {
        struct Highest;
        impl Random for Highest {
            fn bits(&self) -> u64 {
                u64::MAX
            }
        }
        assert!(Highest.unit() < 1.0);
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(SystemRandom.token(), SystemRandom.token());
    }
}
