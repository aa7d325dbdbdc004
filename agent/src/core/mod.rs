//! Wanted versus running: what the agent does next. Pure.
