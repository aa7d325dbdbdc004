//! The part of a text that shows why it was found. Pure.

use std::collections::HashSet;
use std::ops::Range;

use crate::words::{self, Word};

/// About so many bytes of a text are shown.
const LENGTH: usize = 280;

/// A piece of a snippet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    /// The text.
    pub(crate) text: &'a str,
    /// Is it a word of the query?
    pub(crate) hit: bool,
}

/// A part of a text, and whether something was left out before and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snippet<'a> {
    /// In order; together they are the part.
    pub(crate) pieces: Vec<Piece<'a>>,
    /// Left out at the start.
    pub(crate) before: bool,
    /// Left out at the end.
    pub(crate) after: bool,
}

/// The part with the most different words of the query, cut at words, with those words marked.
pub(crate) fn snippet<'a>(text: &'a str, query: &str) -> Snippet<'a> {
    let wanted: HashSet<String> = words::terms(query).collect();
    let all: Vec<Word> = words::words(text).collect();
    let hits: Vec<&Word> = all.iter().filter(|word| wanted.contains(&word.term)).collect();
    let part = part(text, &all, &hits);
    let (mut pieces, mut at) = (Vec::new(), part.start);
    for hit in hits.iter().filter(|hit| part.start <= hit.at.start && hit.at.end <= part.end) {
        pieces.push(Piece { text: &text[at..hit.at.start], hit: false });
        pieces.push(Piece { text: &text[hit.at.clone()], hit: true });
        at = hit.at.end;
    }
    pieces.push(Piece { text: &text[at..part.end], hit: false });
    pieces.retain(|piece| !piece.text.is_empty());
    Snippet { pieces, before: part.start > 0, after: part.end < text.len() }
}

fn part(text: &str, all: &[Word], hits: &[&Word]) -> Range<usize> {
    if text.len() <= LENGTH {
        return 0..text.len();
    }
    let different = |start: usize| {
        let within = hits.iter().filter(|hit| hit.at.start >= start && hit.at.end <= start + LENGTH);
        within.map(|hit| &hit.term).collect::<HashSet<_>>().len()
    };
    // The first of the best: `max_by_key` would give the last.
    let best = hits.iter().rev().max_by_key(|hit| different(hit.at.start)).map_or(0, |hit| hit.at.start);
    // Some words of what comes before read better than a hit at the very edge.
    let from = best.saturating_sub(LENGTH / 5);
    let start = if from == 0 { 0 } else { boundary(all, from, |word| word.at.start).unwrap_or(best) };
    let end = all.iter().rev().map(|word| word.at.end).find(|end| *end <= start + LENGTH && *end > start);
    let end = if text.len() <= start + LENGTH { text.len() } else { end.unwrap_or_else(|| cut(text, start)) };
    start..end
}

fn boundary(all: &[Word], from: usize, edge: impl Fn(&Word) -> usize) -> Option<usize> {
    all.iter().map(edge).find(|at| *at >= from)
}

/// Where a text without words to cut at is cut.
fn cut(text: &str, start: usize) -> usize {
    text.floor_char_boundary(start + LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, query: &str) -> String {
        let snippet = snippet(text, query);
        let mark = |piece: &Piece<'_>| {
            if piece.hit { format!("[{}]", piece.text) } else { piece.text.to_owned() }
        };
        snippet.pieces.iter().map(mark).collect()
    }

    #[test]
    fn words_of_the_query_are_marked_in_every_form() {
        assert_eq!(shown("Whales, and a whaling ship.", "whale"), "[Whales], and a [whaling] ship.");
        assert_eq!(shown("Nothing here.", "whale"), "Nothing here.");
        assert_eq!(shown("the the", "the"), "the the");
        assert_eq!(shown("", "x"), "");
    }

    #[test]
    fn long_texts_are_cut_round_the_best_place() {
        let text =
            format!("{} the white whale swam {}", "early words ".repeat(60), "later words ".repeat(60));
        let part = snippet(&text, "white whale");
        let whole: String = part.pieces.iter().map(|piece| piece.text).collect();
        assert!(part.before && part.after && whole.len() <= LENGTH, "{}", whole.len());
        assert!(text.contains(&whole) && whole.contains("white whale swam"));
    }

    #[test]
    fn no_text_breaks_it() {
        for text in ["ä".repeat(2000), "— ".repeat(900), "whale".repeat(400), "東京 ".repeat(300)] {
            let part = snippet(&text, "whale 東京");
            assert!(part.pieces.iter().map(|piece| piece.text.len()).sum::<usize>() <= LENGTH + 4);
        }
    }
}
