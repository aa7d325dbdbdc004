//! What to do next: wanted against what is, as commands. Pure.
