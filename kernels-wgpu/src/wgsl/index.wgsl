// What an index out of range leaves in `report` until the host next waits. The first to come stays.

fn report_index(op: u32, at: u32, limit: u32, got: u32) {
    if (atomicExchange(&report[0], 1u) == 0u) {
        atomicStore(&report[1], op);
        atomicStore(&report[2], at);
        atomicStore(&report[3], limit);
        atomicStore(&report[4], got);
    }
}
