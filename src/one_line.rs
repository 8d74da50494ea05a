//! Text for one line of a log or a terminal, whatever a name, a value or the site's own output holds.

use std::fmt::{self, Display, Write};

/// Shows control characters as escapes.
pub struct OneLine<T>(pub T);

impl<T: Display> Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaped(f), "{}", self.0)
    }
}

struct Escaped<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            match part.chars().next_back().filter(|last| last.is_control()) {
                None => self.0.write_str(part)?,
                Some(control) => {
                    self.0.write_str(part.trim_end_matches(control))?;
                    write!(self.0, "{}", control.escape_default())?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_in_it_controls_a_terminal(text in any::<String>()) {
            prop_assert!(!OneLine(text).to_string().contains(char::is_control));
        }
    }

    #[test]
    fn all_else_stays_as_it_is() {
        assert_eq!(OneLine("ü\u{9b}\t\n\n:").to_string(), "ü\\u{9b}\\t\\n\\n:");
    }
}
