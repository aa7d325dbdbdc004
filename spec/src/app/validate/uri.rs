//! Is a text a URI as `java.net.URI` reads it? That is what Marathon asks of everything to be fetched.
//! Only the syntax: whether there is something behind it is the agent's business.

/// Does `java.net.URI` take it?
pub(super) fn is_valid(text: &str) -> bool {
    let (body, fragment) = split(text, '#');
    if !fragment.is_none_or(|fragment| is_clean(fragment, true)) {
        return false;
    }
    match body.find([':', '/', '?']).filter(|end| body[*end..].starts_with(':')) {
        Some(end) => is_scheme(&body[..end]) && is_rest(&body[end + 1..]),
        None => body.is_empty() || is_hierarchical(body),
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(head, tail)| (head, Some(tail)))
}

fn is_scheme(scheme: &str) -> bool {
    let letter = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    letter && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// What follows the scheme: opaque text, or a hierarchy.
fn is_rest(rest: &str) -> bool {
    if rest.starts_with('/') { is_hierarchical(rest) } else { !rest.is_empty() && is_clean(rest, true) }
}

fn is_hierarchical(text: &str) -> bool {
    let (body, query) = split(text, '?');
    let (authority, path) = match body.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", body),
    };
    let nothing = body.starts_with("//") && authority.is_empty() && path.is_empty();
    let query_clean = query.is_none_or(|query| is_clean(query, true));
    !nothing && is_clean(authority, true) && is_clean(path, false) && query_clean
}

/// Only characters that may stand in a URI, and escapes that are whole. Java takes letters of all
/// languages, but neither blanks nor control characters.
fn is_clean(text: &str, brackets: bool) -> bool {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    text.char_indices().all(|(at, c)| match c {
        '%' => hex(at + 1) && hex(at + 2),
        '[' | ']' => brackets,
        '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' | '#' => false,
        _ => !c.is_whitespace() && !c.is_control(),
    })
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn takes_what_java_takes() {
        for good in [
            "http://example.com/valid",
            "file:///bin/bash",
            "hdfs://nn:9000/a%20b?c=[1]#d",
            "relative/path",
            "mailto:a@b",
            "http://[::1]:8080/x",
            "s3://bucket/ключ",
            "/etc/docker.tar.gz",
            "",
        ] {
            assert!(is_valid(good), "{good}");
        }
    }

    #[test]
    fn refuses_what_java_refuses() {
        for bad in [
            "d://\not-a-uri",
            "http://a b",
            "http://",
            "1http://x",
            "://x",
            "http:",
            "a%zz",
            "a%2",
            "x#a#b",
            "http://h/{id}",
            "http://h/[x]",
            "c:\\temp",
        ] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }
}
