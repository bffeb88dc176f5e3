//! How much of a URL is shown.

/// Of a longer one the rest is left out.
const MOST: usize = 128;

/// A URL, or what was to be one, for an error or a log: without user info and query, which may hold
/// secrets, and as it would be in source text.
pub(crate) fn shown(text: &str) -> String {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let begin = text.find("//").map_or_else(
        || text.find(':').map_or(0, |colon| colon + 1),
        |slashes| slashes + 2,
    );
    let begin = begin.min(end);
    let place = &text[begin..end];
    // An abstract name begins with it.
    let place = match place.rfind('@') {
        Some(at) if at > 0 => format!("..{}", &place[at..]),
        _ => place.to_owned(),
    };
    let rest = if end < text.len() { "?.." } else { "" };
    // Before a scheme there is nothing to hide, unless it is none.
    let scheme = &text[..begin];
    let scheme = if scheme.contains('@') { ".." } else { scheme };
    let whole = format!("{scheme}{place}");
    let long = whole.chars().nth(MOST).is_some();
    let cut: String = whole.chars().take(MOST).collect();
    let cut = cut.escape_debug();
    match long {
        true => format!("`{cut}`.."),
        false => format!("`{cut}{rest}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    // TR11
    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        for (text, expected) in [
            ("tcp://127.0.0.1:123456", "`tcp://127.0.0.1:123456`"),
            ("tcp://h:1?key=secret", "`tcp://h:1?..`"),
            ("tcp://h:1#secret", "`tcp://h:1?..`"),
            ("tcp://user:secret@h:1", "`tcp://..@h:1`"),
            ("tcp://se@cret@h:1?x", "`tcp://..@h:1?..`"),
            ("user:secret@h:1", "`user:..@h:1`"),
            ("secret@h:1", "`..1`"),
            ("secret@h", "`..@h`"),
            ("unix:@name", "`unix:@name`"),
            ("unix:/run/app.sock", "`unix:/run/app.sock`"),
            ("a\nb", "`a\\nb`"),
            ("?//", "`?..`"),
            ("", "``"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
            assert!(!shown(text).contains("secret"));
        }
        let long = format!("unix:/{}", "é".repeat(500));
        assert_eq!(shown(&long).chars().count(), 128 + "``..".len());
    }
}
