//! What must never be seen in a log or a message.

use std::fmt;

/// Texts that are secret. They are known only in order to be taken out of what restic says.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

/// The variables of restic, and of the stores it speaks to, whose values are secret.
const SECRET_VARIABLES: [&str; 4] =
    ["RESTIC_PASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "RESTIC_REST_PASSWORD"];

const HIDDEN: &str = "[hidden]";

impl Secrets {
    /// The secrets among restic's variables, and in its repository's address.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut secrets: Vec<String> = SECRET_VARIABLES.iter().filter_map(|name| variable(name)).collect();
        // rest:https://user:password@host/path
        let address = variable("RESTIC_REPOSITORY").unwrap_or_default();
        if let Some((before, _)) = address.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'))
            && let Some((_, password)) = before.split_once(':')
        {
            secrets.push(password.to_owned());
        }
        secrets.retain(|secret| !secret.is_empty());
        // The longest first, so that one that contains another is taken out whole.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// `text` without them.
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_of_what_restic_says() {
        let secrets = Secrets::of(|name| match name {
            "RESTIC_PASSWORD" => Some("hunter2".into()),
            "AWS_SECRET_ACCESS_KEY" => Some("hunter2-and-more".into()),
            "RESTIC_REPOSITORY" => Some("rest:https://joe:s3same@backups.example/shop".into()),
            _ => None,
        });
        let said = secrets.hide("at https://joe:s3same@backups.example with hunter2-and-more and hunter2");
        assert_eq!(said, "at https://joe:[hidden]@backups.example with [hidden] and [hidden]");
        assert_eq!(format!("{secrets:?}"), "Secrets(3)");
    }
}
