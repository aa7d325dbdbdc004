//! The regular expressions of LIKE and UNLIKE: linear-time and bounded, since users write them.

use regex::{Regex, RegexBuilder};

/// A compiled pattern takes at most this much memory; larger ones are refused. `\w{1,20}` fits, whose
/// alphabet is all of Unicode's; compiling the largest takes some milliseconds.
const COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// Compiles `text` so that it matches whole values only, as Java's `matches` does. `None` when it is not
/// a pattern, or one that is too large. Java's look-around and back references are not supported: they
/// cannot be matched in linear time.
pub fn compile(text: &str) -> Option<Regex> {
    let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build().ok();
    // Alone first: `a)(b` is no pattern, though it is one between parentheses.
    build(text)?;
    build(&format!(r"\A(?:{text})\z"))
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn whole_values_match() {
        let pattern = compile("rack-[7-9]|x").unwrap();
        assert!(compile(r"\w{1,20}").is_some());
        assert!(pattern.is_match("rack-7") && pattern.is_match("x"));
        assert!(!pattern.is_match("rack-70") && !pattern.is_match("ax"));
    }

    #[test]
    fn what_is_no_pattern_or_too_large_is_refused() {
        assert!(compile("(").is_none());
        assert!(compile("a)(b").is_none());
        assert!(compile(r"(?=x)").is_none());
        assert!(compile("((a{100}){100}){100}").is_none());
    }
}
