//! Recording on a real cluster: the kernel's counters, two nodes' recorders, the controller's union, and the profile that comes of it.

mod absence;
mod attack;
mod bracket;
mod hostile;
mod nginx;
mod recorder;
mod redis;
mod rights;
mod runtimes;
mod support;
