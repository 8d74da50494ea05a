//! The LSAPI protocol: packets as bytes in and bytes out, and a small blocking client.
