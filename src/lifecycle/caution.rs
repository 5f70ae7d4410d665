//! How much may go wrong at once before it is no longer believed to be what it seems.

/// So many are believed however few there are in all.
const ALWAYS: u64 = 10;
/// And one in so many.
const ONE_IN: u64 = 100;

/// The most out of `all` that may turn out to be gone, or behind, at once: more says that the view is wrong, not they.
pub fn at_most(all: u64) -> u64 {
    ALWAYS.max(all / ONE_IN)
}
