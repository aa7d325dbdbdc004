//! The label selector of `GET /v2/apps?label=` (reference section 1.1). Pure.
//!
//! ```text
//! query    := [selector ("," selector)*]
//! selector := term ("in" | "notin") "(" [term ("," term)*] ")" | term ("==" | "!=") term | term
//! term     := ("\" any | [-A-Za-z0-9_.])+
//! ```

use std::collections::BTreeMap;

/// All of its demands must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LabelSelector(Vec<Demand>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Demand {
    label: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl LabelSelector {
    /// Reads a query; the error says what was expected where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { rest: text, length: text.len() };
        let mut demands = Vec::new();
        if !reader.at_end() {
            demands.push(reader.demand()?);
            while reader.take(",") {
                demands.push(reader.demand()?);
            }
        }
        if reader.at_end() { Ok(Self(demands)) } else { Err(reader.expected("`,' or end of source")) }
    }

    /// Every form, also `!=` and `notin`, wants the label to exist.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|demand| {
            labels.get(&demand.label).is_some_and(|value| match &demand.test {
                Test::Exists => true,
                Test::In(values) => values.contains(value),
                Test::NotIn(values) => !values.contains(value),
            })
        })
    }
}

struct Reader<'a> {
    rest: &'a str,
    length: usize,
}

impl Reader<'_> {
    fn demand(&mut self) -> Result<Demand, String> {
        let label = self.term()?;
        if self.take("==") {
            return Ok(Demand { label, test: Test::In(vec![self.term()?]) });
        }
        if self.take("!=") {
            return Ok(Demand { label, test: Test::NotIn(vec![self.term()?]) });
        }
        if self.take("notin") {
            return Ok(Demand { label, test: Test::NotIn(self.set()?) });
        }
        if self.take("in") {
            return Ok(Demand { label, test: Test::In(self.set()?) });
        }
        Ok(Demand { label, test: Test::Exists })
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        if !self.take("(") {
            return Err(self.expected("`('"));
        }
        if self.take(")") {
            return Ok(values);
        }
        values.push(self.term()?);
        while self.take(",") {
            values.push(self.term()?);
        }
        if self.take(")") { Ok(values) } else { Err(self.expected("`)'")) }
    }

    fn term(&mut self) -> Result<String, String> {
        self.skip_space();
        let mut term = String::new();
        let mut chars = self.rest.chars();
        loop {
            let before = chars.as_str();
            match chars.next() {
                Some('\\') => term.push(chars.next().ok_or_else(|| self.expected("a character after `\\'"))?),
                Some(c) if c.is_ascii_alphanumeric() || "-_.".contains(c) => term.push(c),
                _ => {
                    self.rest = before;
                    break;
                }
            }
        }
        if term.is_empty() { Err(self.expected("a label or value")) } else { Ok(term) }
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest.is_empty()
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn expected(&self, what: &str) -> String {
        format!("{what} expected at character {}", self.length - self.rest.len() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        LabelSelector::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn every_form_of_selector() {
        let web = [("tier", "web"), ("env", "prod")];
        for (selector, expected) in [
            ("", true),
            ("tier", true),
            ("tier==web", true),
            ("tier == db", false),
            ("tier!=db", true),
            ("tier!=web", false),
            ("tier in (web, db)", true),
            ("tier in ()", false),
            ("tier notin (db)", true),
            ("tier notin (web,db)", false),
            ("tier==web,env==prod", true),
            ("tier==web,env==dev", false),
            ("inner", false),
            (r"ti\er==w\eb", true),
        ] {
            assert_eq!(matches(selector, &web), expected, "{selector}");
        }
    }

    #[test]
    fn negations_want_the_label_to_exist() {
        assert!(!matches("tier!=x", &[]));
        assert!(!matches("tier notin (x)", &[("other", "x")]));
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        for wrong in ["==", "a==", "a b", "a in web", "a in (b", "a,", ",a", "a\\", "a=b", "ä"] {
            assert!(LabelSelector::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(LabelSelector::parse("a==").unwrap_err(), "a label or value expected at character 4");
    }
}
