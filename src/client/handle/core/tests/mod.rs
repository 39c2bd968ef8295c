//! The core under a carrier and a server of the test's own: every cut, every loss, every end.

mod cuts;
mod ends;
mod hostile;
mod losses;
mod model;
mod resent;
