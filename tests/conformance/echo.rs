//! The script that says what PHP got, and what it said.

use std::collections::BTreeMap;

/// Says all that PHP knows of the request: `$_SERVER`, one ini value, the body. Numbers are
/// 32 bits, big endian.
pub const SCRIPT: &str = r#"<?php
http_response_code((int) $_SERVER['T_STATUS']);
header('X-Echo: q' . bin2hex($_SERVER['QUERY_STRING']));
if ($_SERVER['T_LOG'] !== '') error_log($_SERVER['T_LOG']);
$block = fn($text) => pack('N', strlen($text)) . $text;
$server = array_filter($_SERVER, 'is_string');
echo pack('N', count($server));
foreach ($server as $name => $value) echo $block((string) $name), $block($value);
echo $block(ini_get($_SERVER['T_DIRECTIVE']));
fpassthru(fopen('php://input', 'rb'));
"#;

/// What the echo script said.
pub struct Echo<'a> {
    pub server: BTreeMap<String, Vec<u8>>,
    pub ini: &'a [u8],
    pub body: &'a [u8],
}

impl<'a> Echo<'a> {
    pub fn parse(mut rest: &'a [u8]) -> Option<Self> {
        let count = number(&mut rest)?;
        let pair = |rest: &mut &'a [u8]| {
            Some((String::from_utf8(block(rest)?.to_vec()).ok()?, block(rest)?.to_vec()))
        };
        let server = (0..count).map(|_| pair(&mut rest)).collect::<Option<_>>()?;
        Some(Echo { server, ini: block(&mut rest)?, body: rest })
    }

    /// What can only come from a request, this one or one before it.
    pub fn of_request(&self) -> BTreeMap<String, Vec<u8>> {
        let names = ["REQUEST_METHOD", "QUERY_STRING", "SCRIPT_FILENAME", "SCRIPT_NAME"];
        let is_ours = |name: &str| ["HTTP_", "CONTENT_", "T_"].iter().any(|start| name.starts_with(start));
        let ours = self.server.iter().filter(|(name, _)| is_ours(name) || names.contains(&name.as_str()));
        ours.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_be_bytes(*number) as usize)
}

fn block<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest)?;
    let (block, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(block)
}
