// Sums held by a subgroup of eight invocations, neighbours in the workgroup. The op's own piece defines `Value` and `mac`.

// Sums of eight rows, one from each invocation, and four columns.
struct Eight {
    r0: vec4<Value>,
    r1: vec4<Value>,
    r2: vec4<Value>,
    r3: vec4<Value>,
    r4: vec4<Value>,
    r5: vec4<Value>,
    r6: vec4<Value>,
    r7: vec4<Value>,
}

// Adds the products of a value of each invocation, a row each, with four columns of this one.
fn multiplied(l: Value, r: vec4<Value>, s: Eight) -> Eight {
    return Eight(
        mac(subgroupBroadcast(l, 0u), r, s.r0),
        mac(subgroupBroadcast(l, 1u), r, s.r1),
        mac(subgroupBroadcast(l, 2u), r, s.r2),
        mac(subgroupBroadcast(l, 3u), r, s.r3),
        mac(subgroupBroadcast(l, 4u), r, s.r4),
        mac(subgroupBroadcast(l, 5u), r, s.r5),
        mac(subgroupBroadcast(l, 6u), r, s.r6),
        mac(subgroupBroadcast(l, 7u), r, s.r7),
    );
}
