//! The limits that the kernel puts on this process: memory and pids.
