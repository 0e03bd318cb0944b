//! What the service tells whoever started it, by the protocol of `sd_notify(3)`: systemd with `Type=notify`. Without
//! the variable `NOTIFY_SOCKET` nobody is told.
//!
//! No watchdog is fed: a task that sends a sign of life now and then would show that the runtime runs, and not
//! that anybody is answered. `/livez` shows that.

use sd_notify::NotifyState;

use jeton_oauth::Issuer;

/// It starts, which takes long while tables are brought up to date.
pub(super) fn starting() {
    tell(&[NotifyState::Status("Starting: opens the database and brings its tables up to date")]);
}

/// It serves: after the start, and again after a reload.
pub(super) fn serving(issuer: &Issuer) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("Serves {}", issuer.as_str()))]);
}

/// It looks again at keys, metadata and certificate. `serving` ends that.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn(&error),
    }
}

/// It stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("Stops: finishes what is under way")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn(&error);
    }
}

fn warn(error: &std::io::Error) {
    tracing::warn!("cannot tell the service manager (NOTIFY_SOCKET) how it stands: {error}");
}
