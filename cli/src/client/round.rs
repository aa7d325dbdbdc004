//! What several masters said to one request, as one line a person can act on. Pure.

use std::collections::BTreeSet;

use anyhow::anyhow;

use super::retry::Trouble;

/// What the masters had to say to one request.
#[derive(Debug, Default)]
pub struct Round {
    /// The last refusal for now.
    said: Option<String>,
    silent: BTreeSet<String>,
    /// Is any of the silent ones there, and hangs?
    hangs: bool,
}

impl Round {
    /// Adds what one of them said, or that it did not.
    pub fn note(&mut self, base: String, trouble: Trouble, error: &anyhow::Error) {
        match trouble {
            Trouble::NotNow(_) | Trouble::Unclear => {
                self.silent.remove(&base);
                self.said = Some(error.to_string());
            }
            Trouble::NoConnection | Trouble::NoAnswer => {
                self.hangs |= trouble == Trouble::NoAnswer;
                self.silent.insert(base);
            }
        }
    }

    /// In a few words.
    pub fn reason(&self) -> String {
        self.said.clone().unwrap_or_else(|| format!("no answer from {}", self.silent()))
    }

    fn silent(&self) -> String {
        self.silent.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The error when nobody is asked any more.
    pub fn verdict(&self) -> anyhow::Error {
        const CURE: &str = "A majority of the masters has to be up; `clusterctl masters` shows who is";
        match &self.said {
            Some(said) if self.silent.is_empty() => anyhow!("{said}. {CURE}"),
            Some(said) => anyhow!("{said}; no answer from {}. {CURE}", self.silent()),
            None if self.hangs => anyhow!("{} was asked and did not answer", self.silent()),
            None => anyhow!(
                "no master answers at {}: is it running? (`clusterctl dev` starts one; --master or \
                 CLUSTERCTL_MASTER name another)",
                self.silent()
            ),
        }
    }
}

/// A change that may have been made.
pub fn unknown(error: &anyhow::Error) -> anyhow::Error {
    let error = error.to_string();
    let error = error.trim_end_matches('.');
    anyhow!(
        "{error}: whether the change was made is not known. Look (`clusterctl apps`, `clusterctl deployments`) \
         before you ask again"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_verdict_is_of_all() {
        let later = Trouble::NotNow(Duration::from_secs(1));
        let verdict = |heard: &[(&str, Trouble, &str)]| {
            let mut round = Round::default();
            for (base, trouble, said) in heard {
                round.note((*base).to_owned(), *trouble, &anyhow!((*said).to_owned()));
            }
            round.verdict().to_string()
        };
        let cure = "A majority of the masters has to be up; `clusterctl masters` shows who is";
        for (heard, expected) in [
            (&[("a", later, "Nobody leads")][..], format!("Nobody leads. {cure}")),
            (
                &[
                    ("a", later, "Nobody leads"),
                    ("b", Trouble::NoConnection, ""),
                    ("c", Trouble::NoAnswer, ""),
                ],
                format!("Nobody leads; no answer from b, c. {cure}"),
            ),
            (
                &[("b", Trouble::NoConnection, ""), ("b", later, "Nobody leads")],
                format!("Nobody leads. {cure}"),
            ),
            (&[("b", Trouble::NoAnswer, "")], "b was asked and did not answer".to_owned()),
        ] {
            assert_eq!(verdict(heard), expected);
        }
        let dead = verdict(&[("a", Trouble::NoConnection, ""), ("b", Trouble::NoConnection, "")]);
        assert!(dead.starts_with("no master answers at a, b: is it running?"), "{dead}");
    }
}
