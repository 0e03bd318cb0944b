//! What a process knows of itself: the time, how long it has been able to answer, whether a caller is still connected,
//! and which of its long-lived tasks are down.
//!
//! This package knows nothing of OAuth but times and durations, and nothing of keys, the database or HTTP.

pub mod availability;
pub mod caller;
pub mod clock;
pub mod process;
pub mod supervision;
pub mod system_roots;
