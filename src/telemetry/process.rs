//! What the kernel says of this process, under the names that Prometheus clients use.

use super::Page;

/// Writes memory, processor time, descriptors and threads; what the kernel does not tell is left out.
pub fn process(page: &mut Page) {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    // The name of the program, in parentheses, may hold anything: fields are counted after it (proc(5): field 3 comes first).
    let Some((_, rest)) = stat.rsplit_once(") ") else { return };
    let fields: Vec<_> = rest.split(' ').collect();
    let field = |number: usize| fields.get(number - 3).and_then(|f| f.parse::<u64>().ok());
    let (ticks, page_size) = (rustix::param::clock_ticks_per_second().max(1), rustix::param::page_size() as u64);
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        let hundredths = (user + system) * 100 / ticks;
        let seconds = format!("{}.{:02}", hundredths / 100, hundredths % 100);
        page.single("process_cpu_seconds_total", "counter", "Processor time, user and system.", seconds);
    }
    if let Some(pages) = field(24) {
        page.single("process_resident_memory_bytes", "gauge", "Memory in use.", pages * page_size);
    }
    if let Some(threads) = field(20) {
        page.single("process_threads", "gauge", "Threads.", threads);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        page.single("process_open_fds", "gauge", "Open descriptors.", open.count());
    }
}
