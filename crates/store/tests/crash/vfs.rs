//! The operating-system layer of the engine, with an ear and a finger in it: every write, truncation
//! and flush of a watched store is recorded, and any of them can be made to fail.
//!
//! The engine opens its files through the layer registered as default (`sqlite3_vfs_register`). This one
//! lets the built-in layer open each file and then replaces four entries of the file's method table.

#![allow(unsafe_code)] // the engine's C interface; tests only

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock};

use rusqlite::ffi;

/// Which of a store's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Main,
    Wal,
}

/// What happened to a watched store, in order.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Write {
        part: Part,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        part: Part,
        len: usize,
    },
    Sync {
        part: Part,
    },
    Delete {
        part: Part,
    },
    /// The store acknowledged this step.
    Acknowledged(usize),
}

/// A failure to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    /// Writes find no room.
    Full,
    /// Writes fail.
    Write,
    /// Flushes fail.
    Sync,
}

#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) events: Vec<Event>,
    /// The failure, and how many calls of its kind still succeed.
    pub(crate) failing: Option<(Failing, u64)>,
}

impl Recorder {
    /// The engine's error code, once the failure is due.
    fn fails(&mut self, sync: bool) -> Option<c_int> {
        let (kind, left) = self.failing.as_mut()?;
        if sync != (*kind == Failing::Sync) {
            return None;
        }
        if *left > 0 {
            *left -= 1;
            return None;
        }
        Some(match kind {
            Failing::Full => ffi::SQLITE_FULL,
            Failing::Write => ffi::SQLITE_IOERR_WRITE,
            Failing::Sync => ffi::SQLITE_IOERR_FSYNC,
        })
    }
}

type Shared = Arc<Mutex<Recorder>>;

/// Records what happens to the store at `path` from now on.
pub(crate) fn watch(path: &Path) -> Shared {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(register);
    let recorder = Shared::default();
    lock(watched()).insert(path.to_owned(), Arc::clone(&recorder));
    recorder
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

fn watched() -> &'static Mutex<BTreeMap<PathBuf, Shared>> {
    static WATCHED: OnceLock<Mutex<BTreeMap<PathBuf, Shared>>> = OnceLock::new();
    WATCHED.get_or_init(Mutex::default)
}

/// An open file of a watched store, by the address of the engine's file object.
#[derive(Clone)]
struct Opened {
    real: &'static ffi::sqlite3_io_methods,
    part: Part,
    recorder: Shared,
}

fn opened() -> &'static Mutex<BTreeMap<usize, Opened>> {
    static OPENED: OnceLock<Mutex<BTreeMap<usize, Opened>>> = OnceLock::new();
    OPENED.get_or_init(Mutex::default)
}

fn find(file: *mut ffi::sqlite3_file) -> Opened {
    lock(opened()).get(&(file as usize)).unwrap().clone()
}

struct RealVfs(*mut ffi::sqlite3_vfs);
// SAFETY: the built-in layer is immutable once registered and may be called from any thread.
unsafe impl Send for RealVfs {}
// SAFETY: as above.
unsafe impl Sync for RealVfs {}
static REAL: OnceLock<RealVfs> = OnceLock::new();

fn register() {
    // SAFETY: a null name asks for the default layer, which lives as long as the process. The copy is
    // leaked, so it does too.
    unsafe {
        let real = ffi::sqlite3_vfs_find(std::ptr::null());
        assert!(!real.is_null());
        let mut layer = *real;
        layer.zName = c"recording".as_ptr();
        layer.pNext = std::ptr::null_mut();
        layer.xOpen = Some(open);
        layer.xDelete = Some(delete);
        REAL.set(RealVfs(real)).ok().unwrap();
        assert_eq!(ffi::sqlite3_vfs_register(Box::leak(Box::new(layer)), 1), ffi::SQLITE_OK);
    }
}

/// The watched store that the file `name` is part of.
fn part_of(name: *const c_char) -> Option<(Part, Shared)> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the engine passes a name that ends with a zero byte.
    let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap();
    let (main, part) = match name.strip_suffix("-wal") {
        Some(main) => (main, Part::Wal),
        None => (name, Part::Main),
    };
    lock(watched()).get(Path::new(main)).map(|recorder| (part, Arc::clone(recorder)))
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let real = REAL.get().unwrap().0;
    // SAFETY: the arguments are the engine's own; the layer's file size was copied from the real one,
    // so `file` has room for the real object.
    unsafe {
        let code = (*real).xOpen.unwrap()(real, name, file, flags, out_flags);
        if code != ffi::SQLITE_OK {
            return code;
        }
        if let Some((part, recorder)) = part_of(name) {
            let real: &'static ffi::sqlite3_io_methods = &*(*file).pMethods;
            let mut methods = *real;
            methods.xClose = Some(close);
            methods.xWrite = Some(write);
            methods.xTruncate = Some(truncate);
            methods.xSync = Some(sync);
            (*file).pMethods = Box::leak(Box::new(methods));
            lock(opened()).insert(file as usize, Opened { real, part, recorder });
        }
        code
    }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    if let Some((part, recorder)) = part_of(name) {
        lock(&recorder).events.push(Event::Delete { part });
    }
    let real = REAL.get().unwrap().0;
    // SAFETY: the arguments are the engine's own.
    unsafe { (*real).xDelete.unwrap()(real, name, sync_dir) }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let opened = lock(opened()).remove(&(file as usize)).unwrap();
    // SAFETY: `file` was opened by the layer these methods belong to.
    unsafe { opened.real.xClose.unwrap()(file) }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, bytes: *const c_void, len: c_int, at: i64) -> c_int {
    let opened = find(file);
    {
        let mut recorder = lock(&opened.recorder);
        if let Some(code) = recorder.fails(false) {
            return code;
        }
        // SAFETY: the engine passes `len` readable bytes.
        let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), len as usize) }.to_vec();
        recorder.events.push(Event::Write { part: opened.part, at: at as usize, bytes });
    }
    // SAFETY: as in `close`.
    unsafe { opened.real.xWrite.unwrap()(file, bytes, len, at) }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    let opened = find(file);
    lock(&opened.recorder).events.push(Event::Truncate { part: opened.part, len: len as usize });
    // SAFETY: as in `close`.
    unsafe { opened.real.xTruncate.unwrap()(file, len) }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let opened = find(file);
    {
        let mut recorder = lock(&opened.recorder);
        if let Some(code) = recorder.fails(true) {
            return code;
        }
        recorder.events.push(Event::Sync { part: opened.part });
    }
    // SAFETY: as in `close`.
    unsafe { opened.real.xSync.unwrap()(file, flags) }
}
