// Workgroups beyond the limit of one dimension are folded into a second.

fn group_index(group: vec3<u32>, groups: vec3<u32>) -> u32 { return group.x + group.y * groups.x; }
