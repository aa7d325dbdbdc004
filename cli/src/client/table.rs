//! Tables for people. Widths follow the content; colours vanish off a terminal.

use anstyle::Style;
use serde_json::Value;

/// Blanks between columns.
const GAP: usize = 2;

/// Rows under column heads.
pub struct Table {
    rows: Vec<Vec<String>>,
}

/// A table with these column heads.
pub fn table(heads: &[&str]) -> Table {
    Table { rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()] }
}

impl Table {
    /// One cell for each head.
    pub fn add_row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The lines, with the columns in `right` set to the right.
    fn lines(&self, right: &[usize]) -> Vec<String> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| self.rows.iter().map(|row| visible(&row[column])).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate();
            let padded = cells.map(|(column, (cell, width))| pad(cell, *width, right.contains(&column)));
            padded.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

fn pad(cell: &str, width: usize, right: bool) -> String {
    let blanks = " ".repeat(width.saturating_sub(visible(cell)));
    if right { format!("{blanks}{cell}") } else { format!("{cell}{blanks}") }
}

/// Characters that are seen: colours take no room.
fn visible(cell: &str) -> usize {
    anstream::adapter::strip_str(cell).map(|part| part.chars().count()).sum()
}

/// Prints a table, or one line when it is empty.
pub fn print(table: Table, right: &[usize], empty: &str) {
    if table.rows.len() <= 1 {
        anstream::println!("{empty}");
        return;
    }
    for line in table.lines(right) {
        anstream::println!("{line}");
    }
}

/// Prints JSON for programs.
pub fn json(value: &Value) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A word in a colour.
pub fn paint(style: Style, text: &str) -> String {
    format!("{}{text}{}", style.render(), style.render_reset())
}

/// A number of a document; `-` when it is missing.
pub fn number(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        _ => "-".to_owned(),
    }
}

/// A text of a document; `-` when it is missing.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

/// How long ago an ISO 8601 time was: `42s`, `7m`, `3h`, `12d`.
pub fn age(value: &Value, now: jiff::Timestamp) -> String {
    let Some(then) = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok()) else {
        return "-".to_owned();
    };
    match now.as_second().saturating_sub(then.as_second()).max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn colours_take_no_room() {
        let mut rows = table(&["APP", "N", "STATE"]);
        rows.add_row(["/a".to_owned(), "10".to_owned(), paint(crate::args::GREEN, "up")]);
        rows.add_row(["/long".to_owned(), paint(crate::args::RED, "9"), "down".to_owned()]);
        let plain = |line: &String| anstream::adapter::strip_str(line).to_string();
        let lines: Vec<String> = rows.lines(&[1]).iter().map(plain).collect();
        assert_eq!(lines, ["APP     N  STATE", "/a     10  up", "/long   9  down"]);
    }

    #[test]
    fn ages_are_short() {
        let now: jiff::Timestamp = "2020-01-02T00:00:00Z".parse().unwrap();
        assert_eq!(age(&json!("2020-01-01T23:59:18.000Z"), now), "42s");
        assert_eq!(age(&json!("2020-01-01T00:00:00.000Z"), now), "24h");
        assert_eq!(age(&json!("2019-12-01T00:00:00.000Z"), now), "32d");
        assert_eq!(age(&Value::Null, now), "-");
    }
}
