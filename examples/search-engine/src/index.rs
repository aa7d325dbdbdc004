//! The index: documents, where each term occurs, and BM25 over both. Pure and bounded.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::words;

/// Documents that the index holds at most.
pub(crate) const DOCUMENTS_MAX: usize = 20_000;

/// Bytes of text that the index holds at most. With postings this stays below 100 MB.
pub(crate) const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of one document's text.
pub(crate) const TEXT_MAX: usize = 16 * 1024;

/// Bytes of an id or a title.
pub(crate) const NAME_MAX: usize = 256;

/// Different terms of a query that count.
const QUERY_TERMS_MAX: usize = 16;

/// The usual parameters of BM25: how soon more of the same word stops to matter, and how much length does.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// What is indexed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Document {
    /// A document with an id that is there already takes its place.
    pub(crate) id: String,
    /// Where the text is from.
    pub(crate) title: String,
    /// The text.
    pub(crate) text: String,
}

/// Why a document is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// Its id or title is empty or too long, or its text is.
    Document(String),
    /// The index is full.
    Full,
}

/// A document that a query found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hit<'a> {
    /// The document.
    pub(crate) document: &'a Document,
    /// Its BM25 score.
    pub(crate) score: f64,
}

#[derive(Debug)]
struct Entry {
    document: Document,
    /// How often each of its terms occurs.
    terms: HashMap<String, u32>,
    length: u32,
}

/// An inverted index.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: HashMap<u32, Entry>,
    ids: HashMap<String, u32>,
    next: u32,
    /// For each term: how often it occurs in which entry.
    postings: HashMap<String, BTreeMap<u32, u32>>,
    bytes: usize,
    /// Sum of the lengths of all entries.
    length: u64,
}

impl Index {
    /// Number of documents.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Number of different terms.
    pub(crate) fn terms(&self) -> usize {
        self.postings.len()
    }

    /// Bytes of text.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a document in, in the place of the one with the same id.
    pub(crate) fn put(&mut self, document: Document) -> Result<(), Rejected> {
        check(&document)?;
        let old = self.ids.get(&document.id).and_then(|number| self.entries.get(number));
        let bytes = self.bytes - old.map_or(0, |old| size(&old.document)) + size(&document);
        if bytes > BYTES_MAX || (old.is_none() && self.len() >= DOCUMENTS_MAX) {
            return Err(Rejected::Full);
        }
        self.remove(&document.id);
        self.insert(document);
        Ok(())
    }

    fn insert(&mut self, document: Document) {
        let mut terms: HashMap<String, u32> = HashMap::new();
        for term in words::terms(&document.title).chain(words::terms(&document.text)) {
            *terms.entry(term).or_default() += 1;
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        for (term, count) in &terms {
            self.postings.entry(term.clone()).or_default().insert(number, *count);
        }
        let length = terms.values().sum();
        self.length += u64::from(length);
        self.bytes += size(&document);
        self.ids.insert(document.id.clone(), number);
        self.entries.insert(number, Entry { document, terms, length });
    }

    fn remove(&mut self, id: &str) {
        let Some(entry) = self.ids.remove(id).and_then(|number| self.entries.remove_entry(&number)) else {
            return;
        };
        let (number, Entry { document, terms, length }) = entry;
        for term in terms.keys() {
            let Some(found) = self.postings.get_mut(term) else {
                continue;
            };
            found.remove(&number);
            if found.is_empty() {
                self.postings.remove(term);
            }
        }
        self.length -= u64::from(length);
        self.bytes -= size(&document);
    }

    /// The best documents for a query, best first; equal scores by id, so that the order is always the same.
    pub(crate) fn search(&self, query: &str, most: usize) -> (usize, Vec<Hit<'_>>) {
        let mut terms: Vec<String> = words::terms(query).collect();
        terms.sort();
        terms.dedup();
        let mut scores: HashMap<u32, f64> = HashMap::new();
        for term in terms.iter().take(QUERY_TERMS_MAX) {
            let Some(found) = self.postings.get(term) else {
                continue;
            };
            for (number, count) in found {
                *scores.entry(*number).or_default() += self.score(found.len(), *count, *number);
            }
        }
        let found = scores.len();
        let hit =
            |(number, score): (u32, f64)| Some(Hit { document: &self.entries.get(&number)?.document, score });
        let mut hits: Vec<Hit<'_>> = scores.into_iter().filter_map(hit).collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.document.id.cmp(&b.document.id)));
        hits.truncate(most);
        (found, hits)
    }

    /// BM25 of one term in one document, with the `1 +` of Lucene that keeps it positive for common terms.
    fn score(&self, with_term: usize, count: u32, number: u32) -> f64 {
        let (all, with_term, count) = (self.len() as f64, with_term as f64, f64::from(count));
        let rarity = (1.0 + (all - with_term + 0.5) / (with_term + 0.5)).ln();
        let average = self.length as f64 / all;
        let length = self.entries.get(&number).map_or(average, |entry| f64::from(entry.length));
        rarity * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length / average))
    }
}

fn size(document: &Document) -> usize {
    document.id.len() + document.title.len() + document.text.len()
}

fn check(document: &Document) -> Result<(), Rejected> {
    let Document { id, title, text } = document;
    let shown = id.chars().take(40).collect::<String>();
    if id.is_empty() || id.len() > NAME_MAX {
        return Err(Rejected::Document(format!("the id `{shown}` must have 1 to {NAME_MAX} bytes")));
    }
    if title.len() > NAME_MAX {
        return Err(Rejected::Document(format!("the title of `{shown}` has more than {NAME_MAX} bytes")));
    }
    if text.is_empty() || text.len() > TEXT_MAX {
        return Err(Rejected::Document(format!("the text of `{shown}` must have 1 to {TEXT_MAX} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(id: &str, text: &str) -> Document {
        Document { id: id.to_owned(), title: String::new(), text: text.to_owned() }
    }

    fn index(texts: &[(&str, &str)]) -> Index {
        let mut index = Index::default();
        texts.iter().for_each(|(id, text)| index.put(document(id, text)).unwrap());
        index
    }

    fn found(index: &Index, query: &str) -> Vec<(String, f64)> {
        let (_, hits) = index.search(query, 10);
        hits.into_iter().map(|hit| (hit.document.id.clone(), hit.score)).collect()
    }

    #[test]
    fn scores_are_those_computed_by_hand() {
        // Three documents of 2, 4 and 3 terms: 3 on average.
        let index =
            index(&[("a", "white whale"), ("b", "whale whale sea ship"), ("c", "ship captain harpoon")]);
        // "sea" is in one of three: ln(1 + 2.5/1.5) = 0.980829; once in 4 terms against 3 on average:
        // 1 * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 4/3)) = 2.2 / 2.5 = 0.88; together 0.863130.
        let sea = found(&index, "sea");
        assert_eq!(sea.len(), 1);
        assert!((sea[0].1 - 0.863_130).abs() < 1e-5, "{sea:?}");
        // "whale" is in two: ln(1 + 1.5/2.5) = 0.470004. In b twice: 2 * 2.2 / (2 + 1.5) = 1.257143,
        // 0.590862. In a once in 2: 2.2 / (1 + 1.2 * 0.75) = 1.157895, 0.544215.
        let whale = found(&index, "whale");
        assert_eq!(whale.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        assert!((whale[0].1 - 0.590_862).abs() < 1e-5 && (whale[1].1 - 0.544_215).abs() < 1e-5, "{whale:?}");
        // A query of two terms is their sum, and a term said twice counts once.
        let both = found(&index, "sea whale sea");
        assert!((both[0].1 - (0.863_130 + 0.590_862)).abs() < 1e-5, "{both:?}");
    }

    #[test]
    fn an_update_takes_the_place_of_what_was() {
        let mut index = index(&[("a", "old words"), ("b", "other words")]);
        index.put(document("a", "new things")).unwrap();
        assert_eq!(index.len(), 2);
        assert!(found(&index, "old").is_empty());
        assert_eq!(found(&index, "new")[0].0, "a");
        let mut fresh = Index::default();
        fresh.put(document("b", "other words")).unwrap();
        fresh.put(document("a", "new things")).unwrap();
        assert_eq!(
            (index.terms(), index.bytes(), index.length),
            (fresh.terms(), fresh.bytes(), fresh.length)
        );
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let empty = Index::default();
        assert!(found(&empty, "whale").is_empty());
        let index = index(&[("a", "white whale")]);
        for query in ["", "the of and", "shark", "'"] {
            assert!(found(&index, query).is_empty(), "{query}");
        }
        assert_eq!(index.search("whale", 0), (1, vec![]));
    }

    #[test]
    fn what_is_too_large_is_rejected_and_changes_nothing() {
        let mut index = Index::default();
        let long = "x".repeat(NAME_MAX + 1);
        for wrong in [
            document("", "text"),
            document(&long, "text"),
            document("a", ""),
            document("a", &"x".repeat(TEXT_MAX + 1)),
            Document { title: long.clone(), ..document("a", "text") },
        ] {
            assert!(matches!(index.put(wrong), Err(Rejected::Document(_))));
        }
        assert_eq!((index.len(), index.bytes(), index.terms()), (0, 0, 0));
    }

    #[test]
    fn a_full_index_still_takes_updates() {
        let mut index = Index::default();
        let text = "x".repeat(TEXT_MAX);
        let taken = (0..).take_while(|n| index.put(document(&n.to_string(), &text)).is_ok()).count();
        assert!(index.bytes() <= BYTES_MAX && index.bytes() > BYTES_MAX - 2 * TEXT_MAX);
        assert_eq!(index.put(document("one more", &text)), Err(Rejected::Full));
        assert_eq!(index.put(document("0", &text)), Ok(()));
        assert_eq!(index.len(), taken);
    }
}
