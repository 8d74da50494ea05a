#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::sock_diag(data));
