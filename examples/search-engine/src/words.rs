//! Text to terms: lower case, stop words, a light stemmer. Pure. Server and query use the same, or nothing
//! would be found.

use std::ops::Range;

/// Words that say nothing about what a text is about.
const STOP_WORDS: [&str; 58] = [
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "for", "from", "had", "has", "have",
    "he", "her", "him", "his", "i", "if", "in", "into", "is", "it", "its", "me", "my", "no", "not", "of",
    "on", "or", "our", "she", "so", "such", "that", "the", "their", "them", "then", "there", "these", "they",
    "this", "to", "was", "we", "were", "what", "which", "who", "will", "with", "would", "you", "your",
];

/// Longer runs of letters are no words; they are cut, so that a term is never large.
const WORD_MAX: usize = 64;

/// One word of a text that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// What it is found by.
    pub(crate) term: String,
    /// Where it stands, in bytes.
    pub(crate) at: Range<usize>,
}

/// The words of a text: runs of letters and digits of any script, with apostrophes inside.
pub(crate) fn words(text: &str) -> impl Iterator<Item = Word> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        loop {
            let start = rest + text[rest..].find(char::is_alphanumeric)?;
            let end = start + word_length(&text[start..]);
            rest = end;
            if let Some(term) = term(&text[start..end]) {
                return Some(Word { term, at: start..end });
            }
        }
    })
}

/// The terms of a text.
pub(crate) fn terms(text: &str) -> impl Iterator<Item = String> {
    words(text).map(|word| word.term)
}

fn word_length(text: &str) -> usize {
    let inside = |(at, c): &(usize, char)| {
        let joins = matches!(c, '\'' | '’') && text[at + c.len_utf8()..].starts_with(char::is_alphanumeric);
        c.is_alphanumeric() || joins
    };
    text.char_indices().take_while(inside).last().map_or(0, |(at, c)| at + c.len_utf8())
}

fn term(word: &str) -> Option<String> {
    let lower: String = word.chars().flat_map(char::to_lowercase).take(WORD_MAX).collect();
    let plain = lower.split(['\'', '’']).next().unwrap_or_default();
    let counts = !plain.is_empty() && STOP_WORDS.binary_search(&plain).is_err();
    counts.then(|| stem(plain))
}

/// A light stemmer for English: plurals, `-ing` and `-ed`, doubled consonants, final `e`. It joins `walk,
/// walks, walked, walking` and leaves alone what it is not sure of; words that are not plain ASCII letters
/// stay as they are.
fn stem(word: &str) -> String {
    if word.len() < 4 || !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return word.to_owned();
    }
    let singular = singular(word);
    let root = ["ing", "ed"].into_iter().find_map(|ending| without(&singular, ending)).unwrap_or(singular);
    match root.strip_suffix('e') {
        Some(shorter) if shorter.len() > 2 => shorter.to_owned(),
        _ => root,
    }
}

fn singular(word: &str) -> String {
    match word.strip_suffix("ies") {
        Some(root) if root.len() > 1 => return format!("{root}y"),
        _ => {}
    }
    match word.strip_suffix("es") {
        Some(root) if ["ss", "sh", "ch", "x", "z"].iter().any(|end| root.ends_with(end)) => {
            return root.to_owned();
        }
        _ => {}
    }
    match word.strip_suffix('s') {
        Some(root) if !root.ends_with(['s', 'u', 'i']) => root.to_owned(),
        _ => word.to_owned(),
    }
}

/// Takes an ending off where a word remains: three letters, one of them a vowel. `stopp` becomes `stop`.
fn without(word: &str, ending: &str) -> Option<String> {
    let mut root = word.strip_suffix(ending)?.to_owned();
    if root.len() < 3 || !root.contains(['a', 'e', 'i', 'o', 'u', 'y']) {
        return None;
    }
    let (last, before) = (root.chars().last()?, root.chars().rev().nth(1)?);
    if last == before && !"aeioulsz".contains(last) {
        root.pop();
    }
    Some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        terms(text).collect()
    }

    #[test]
    fn stop_words_are_in_order_for_the_search() {
        assert!(STOP_WORDS.is_sorted());
    }

    #[test]
    fn words_of_every_script_lose_their_capitals() {
        assert_eq!(all("Die ÄPFEL, Ünal — 東京 42!"), ["die", "äpfel", "ünal", "東京", "42"]);
        assert_eq!(all("ΣΊΣΥΦΟΣ").len(), 1);
        assert_eq!(all("  ...  "), Vec::<String>::new());
    }

    #[test]
    fn stop_words_go_and_possessives_lose_their_end() {
        assert_eq!(all("It is the Queen's and Alice’s"), ["queen", "alic"]);
        assert_eq!(all("rock 'n' roll"), ["rock", "n", "roll"]);
    }

    #[test]
    fn forms_of_a_word_meet() {
        for group in [
            &["walk", "walks", "walked", "walking"][..],
            &["stop", "stops", "stopped", "stopping"],
            &["whale", "whales", "whaling"],
            &["city", "cities"],
            &["wish", "wishes", "wished", "wishing"],
            &["call", "calls", "called", "calling"],
            &["love", "loves", "loved", "loving"],
        ] {
            let terms: std::collections::BTreeSet<String> = group.iter().map(|word| stem(word)).collect();
            assert_eq!(terms.len(), 1, "{group:?} {terms:?}");
        }
        for (one, other) in [("thing", "th"), ("red", "r"), ("sing", "s"), ("glass", "glas"), ("bring", "br")]
        {
            assert_ne!(stem(one), other);
        }
        assert_eq!(stem("glass"), "glass");
    }

    #[test]
    fn words_know_where_they_stand() {
        let text = "“Off with Ähren’s heads!”";
        let found: Vec<&str> = words(text).map(|word| &text[word.at]).collect();
        assert_eq!(found, ["Off", "Ähren’s", "heads"]);
    }

    #[test]
    fn a_term_is_never_large() {
        assert_eq!(all(&"x".repeat(100_000))[0].len(), WORD_MAX);
    }
}
