//! The page, as text. Pure; everything that comes from outside is escaped here and nowhere else.

use std::fmt::Write;

use crate::snippet::Snippet;

/// One hit as it is shown.
pub(crate) struct Found<'a> {
    pub(crate) title: &'a str,
    pub(crate) id: &'a str,
    pub(crate) score: f64,
    pub(crate) snippet: Snippet<'a>,
}

/// All that a page shows.
pub(crate) struct View<'a> {
    pub(crate) query: &'a str,
    pub(crate) total: usize,
    pub(crate) found: Vec<Found<'a>>,
    pub(crate) documents: usize,
    pub(crate) terms: usize,
    pub(crate) millis: f64,
    pub(crate) task: &'a str,
}

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(crate) fn render(view: &View<'_>) -> String {
    let query = escape(view.query);
    let title = if view.query.is_empty() { "Search".to_owned() } else { format!("{query} – Search") };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1><a href=\"/\">Search the classics</a></h1>\n\
         <form action=\"/\" role=\"search\">\
         <input name=\"q\" type=\"search\" value=\"{query}\" maxlength=\"200\" placeholder=\"white whale\" \
         aria-label=\"Query\" autofocus> <button>Search</button></form>\n{results}\
         <footer>{documents} passages, {terms} terms, answered by {task}</footer>\n</body>\n</html>\n",
        results = results(view),
        documents = view.documents,
        terms = view.terms,
        task = escape(view.task),
    )
}

fn results(view: &View<'_>) -> String {
    if view.query.is_empty() {
        return "<p class=\"note\">Passages of books that belong to everyone; the indexer adds more every \
                second.</p>\n"
            .to_owned();
    }
    let what = match view.total {
        0 => "Nothing found".to_owned(),
        1 => "One passage".to_owned(),
        more if more > view.found.len() => {
            format!("The best {} of {more} passages", view.found.len())
        }
        more => format!("{more} passages"),
    };
    let mut html = format!("<p class=\"note\">{what} in {:.1} ms</p>\n<ol>\n", view.millis);
    view.found.iter().for_each(|found| hit(&mut html, found));
    html.push_str("</ol>\n");
    html
}

fn hit(html: &mut String, found: &Found<'_>) {
    let (title, id, dots) = (escape(found.title), escape(found.id), "… ");
    let before = if found.snippet.before { dots } else { "" };
    let after = if found.snippet.after { " …" } else { "" };
    let mut text = String::new();
    for piece in &found.snippet.pieces {
        let plain = escape(piece.text);
        text.push_str(&if piece.hit { format!("<mark>{plain}</mark>") } else { plain });
    }
    // Writing to a String cannot fail.
    let _ = writeln!(
        html,
        "<li><h2>{title}</h2><p>{before}{text}{after}</p><span class=\"note\">{id}, score {:.2}</span></li>",
        found.score
    );
}

/// Text as it may stand between tags and inside quoted attributes.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snippet::snippet;

    const EVIL: &str = "</title><script>alert('1')</script>\" onfocus=\"x & y";

    fn view<'a>(query: &'a str, title: &'a str, text: &'a str) -> View<'a> {
        let found = vec![Found { title, id: title, score: 1.0, snippet: snippet(text, query) }];
        View { query, total: 1, found, documents: 1, terms: 1, millis: 0.1, task: title }
    }

    #[test]
    fn nothing_from_outside_becomes_markup() {
        for html in [render(&view(EVIL, EVIL, EVIL)), render(&view("x", EVIL, EVIL))] {
            assert!(
                !html.contains("<script") && !html.contains("onfocus=\"x") && !html.contains("alert('"),
                "{html}"
            );
            assert_eq!(html.matches("</title>").count(), 1);
        }
    }

    #[test]
    fn counts_are_said_in_words() {
        let said = |total, query| render(&View { total, ..view(query, "t", "x y") });
        assert!(said(1, "x").contains("One passage"));
        assert!(said(7, "x").contains("The best 1 of 7 passages"));
        assert!(said(0, "x").contains("Nothing found"));
        assert!(said(0, "").contains("every second"));
    }
}
