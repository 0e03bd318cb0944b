//! What a process knows of itself: the time, since when it can answer, whether a caller still waits, and which
//! of its long-lived parts are down.
//!
//! It never knows OAuth's rules beyond moments and spans, and neither keys, nor the database, nor HTTP.

pub mod availability;
pub mod caller;
pub mod clock;
pub mod process;
pub mod supervision;
pub mod system_roots;
