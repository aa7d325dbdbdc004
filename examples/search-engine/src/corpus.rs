//! The texts that the indexer has: passages of books that are in the public domain everywhere, compiled in.

use crate::index::Document;

macro_rules! book {
    ($name:literal) => {
        ($name, include_str!(concat!("../corpus/", $name, ".txt")))
    };
}

/// In the order in which they are sent.
const BOOKS: [(&str, &str); 14] = [
    book!("alice"),
    book!("holmes"),
    book!("pride"),
    book!("moby-dick"),
    book!("two-cities"),
    book!("carol"),
    book!("frankenstein"),
    book!("wells"),
    book!("oz"),
    book!("adventure"),
    book!("novels"),
    book!("poe"),
    book!("poems"),
    book!("documents"),
];

/// Every passage: paragraphs, or stanzas. A line `# Title` begins the passages of a work.
pub(crate) fn passages() -> Vec<Document> {
    BOOKS.iter().flat_map(|(name, text)| passages_of(name, text)).collect()
}

fn passages_of(name: &str, text: &str) -> Vec<Document> {
    let (mut title, mut found) = ("", Vec::new());
    for block in text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        match block.strip_prefix("# ") {
            Some(heading) => title = heading,
            None => found.push(Document {
                id: format!("{name}-{:03}", found.len() + 1),
                title: title.to_owned(),
                text: block.to_owned(),
            }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Index;
    use std::collections::HashSet;

    #[test]
    fn every_passage_can_be_indexed_and_has_a_source() {
        let passages = passages();
        assert!(passages.len() >= 150, "{}", passages.len());
        let ids: HashSet<&str> = passages.iter().map(|passage| passage.id.as_str()).collect();
        assert_eq!(ids.len(), passages.len());
        let mut index = Index::default();
        for passage in passages {
            assert!(!passage.title.is_empty() && passage.text.len() > 40, "{}", passage.id);
            index.put(passage).unwrap();
        }
        assert!(index.terms() > 2000, "{}", index.terms());
    }

    #[test]
    fn what_one_remembers_is_found() {
        let mut index = Index::default();
        passages().into_iter().for_each(|passage| index.put(passage).unwrap());
        for (query, title) in [
            ("rabbit waistcoat pocket watch", "Alice"),
            ("call me Ishmael", "Moby-Dick"),
            ("truth universally acknowledged single man fortune", "Pride"),
            ("best of times worst of times", "Two Cities"),
            ("Irene Adler the woman", "Holmes"),
            ("tyger burning bright", "Tyger"),
            ("government of the people", "Gettysburg"),
            ("quoth the raven nevermore", "Raven"),
        ] {
            let (_, hits) = index.search(query, 1);
            let best = hits.first().map(|hit| hit.document.title.clone()).unwrap_or_default();
            assert!(best.contains(title), "{query}: {best}");
        }
    }
}
