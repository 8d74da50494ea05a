//! Types that are text in JSON: written as `Display` shows them, read as `FromStr` reads them.

use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

macro_rules! serde_as_text {
    ($($type:ident),+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::as_text::parsed(deserializer, stringify!($type))
            }
        }
    )+};
}

pub(crate) use serde_as_text;

/// What was written by this program may have been written by somebody else.
pub fn parsed<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D, kind: &str) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| D::Error::custom(format_args!("{text:?} cannot be the site's {kind}")))
}
