//! Who types a command, for the record.

use super::Failure;

/// Who asks: as they say, or else the user and the machine.
pub fn who(said: Option<String>) -> Result<String, Failure> {
    let user =
        || ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let who = said.or_else(|| user().map(|user| format!("{user}@{}", host())));
    let who = who.ok_or_else(|| Failure::usage(&"who asks? USER is not set; say it with --as"))?;
    if who.trim().is_empty() { Err(Failure::usage(&"--as is empty; say who asks")) } else { Ok(who) }
}

/// This machine's name.
pub fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "trueup".into(), |name| name.trim().to_owned())
}
