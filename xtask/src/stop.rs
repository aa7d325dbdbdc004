//! Ctrl-C, SIGTERM and a closed terminal as a flag, so that what was started can be ended in order.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    ASKED.store(true, Ordering::Relaxed);
}

/// From now on these signals only raise the flag.
#[allow(unsafe_code, reason = "the standard library cannot catch signals")]
pub fn catch() {
    let handler = note as extern "C" fn(libc::c_int);
    // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
    unsafe {
        libc::signal(libc::SIGINT, handler as libc::sighandler_t);
        libc::signal(libc::SIGTERM, handler as libc::sighandler_t);
        libc::signal(libc::SIGHUP, handler as libc::sighandler_t);
    }
}

/// Has one of them come?
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Raises the flag as a signal would.
pub fn ask() {
    ASKED.store(true, Ordering::Relaxed);
}

/// Sends a signal to a process that we started.
#[allow(unsafe_code, reason = "the standard library can only kill")]
pub fn signal(process: u32, signal: libc::c_int) {
    // SAFETY: no memory is involved; a process id that is gone yields an error that is of no interest.
    unsafe {
        libc::kill(process.cast_signed(), signal);
    }
}
