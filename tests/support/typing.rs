//! What the documents tell people to type.

/// Something to type.
pub struct Typed {
    /// The page and the line.
    pub place: String,
    /// As it is written.
    pub command: String,
    /// It stands alone, to be copied; otherwise it is a part of a sentence, and need not be whole.
    pub whole: bool,
}

/// Everything in the page at `path` that looks like a command: lines of code, and what stands between backquotes.
pub fn typed(path: &str, text: &str) -> Vec<Typed> {
    let mut found = vec![];
    let mut fence: Option<String> = None;
    for (number, line) in text.lines().enumerate() {
        let mut add = |command: &str, whole| {
            found.push(Typed { place: format!("{path}:{}", number + 1), command: command.to_owned(), whole });
        };
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(language.to_owned()) };
        } else if let Some(language) = &fence {
            if matches!(language.as_str(), "" | "sh" | "console") {
                add(line.trim(), true);
            }
        } else if line.starts_with("    ") {
            add(line.trim(), true);
        } else {
            line.split('`').skip(1).step_by(2).for_each(|code| add(code.trim(), false));
        }
    }
    found
}

/// The commands of a line of shell, each as its words; `None` where a word ends in a way that only a shell knows.
pub fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![vec![]];
    let (mut word, mut quote, mut started) = (String::new(), None, false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(mark), _) if character == mark => quote = None,
            (None, '\'' | '"') => (quote, started) = (Some(character), true),
            (None, ' ') => {
                if started {
                    commands.last_mut().unwrap().push(std::mem::take(&mut word));
                }
                started = false;
            }
            // What follows is read by nobody, goes to a file, or is another command.
            (None, '#' | '<' | '>') if !started => break,
            (None, '|' | ';' | '&') if !started => {
                if characters.peek() == Some(&character) {
                    characters.next();
                }
                commands.push(vec![]);
            }
            _ => (word, started) = (word + &character.to_string(), true),
        }
    }
    if started {
        commands.last_mut().unwrap().push(word);
    }
    commands.retain(|words| !words.is_empty());
    commands
}

/// The words from `trueup` on, wherever it is run.
pub fn of_trueup(words: &[String]) -> Option<&[String]> {
    match words[0].as_str() {
        "trueup" => Some(words),
        "kubectl" => {
            let inside = words.iter().position(|word| word == "--")? + 1;
            (words.contains(&"exec".to_owned()) && words.get(inside).is_some_and(|it| it == "trueup"))
                .then(|| &words[inside..])
        }
        _ => None,
    }
}
