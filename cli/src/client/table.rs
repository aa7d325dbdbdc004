//! Tables for people. Widths follow the content; colours vanish off a terminal.

use anstyle::Style;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::Value;

/// A table with these column heads, no lines.
pub fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heads.iter().copied());
    table
}

/// Prints a table, or one line when it is empty.
pub fn print(mut table: Table, right: &[usize], empty: &str) {
    if table.row_count() == 0 {
        anstream::println!("{empty}");
        return;
    }
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in table.to_string().lines() {
        anstream::println!("{}", line.trim());
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
    fn ages_are_short() {
        let now: jiff::Timestamp = "2020-01-02T00:00:00Z".parse().unwrap();
        assert_eq!(age(&json!("2020-01-01T23:59:18.000Z"), now), "42s");
        assert_eq!(age(&json!("2020-01-01T00:00:00.000Z"), now), "24h");
        assert_eq!(age(&json!("2019-12-01T00:00:00.000Z"), now), "32d");
        assert_eq!(age(&Value::Null, now), "-");
    }
}
