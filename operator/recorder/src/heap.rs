//! Gives memory back that was needed only to load the programs.

/// Gives the heap's free pages back to the kernel: loading the programs reads the kernel's types, which takes some 20 MiB for a moment, and
/// the C library by itself gives back only what is free at the heap's end.
#[cfg(target_env = "gnu")]
#[expect(
    unsafe_code,
    reason = "the C library's function has no safe binding; it may be called at any time (malloc_trim(3))"
)]
pub(crate) fn trim() {
    // SAFETY: it has no preconditions, takes a number and changes nothing but which free pages are mapped.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries have no such function.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn trim() {}
