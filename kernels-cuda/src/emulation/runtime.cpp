// The emulation's scheduler and memory.
#include "emulation.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

extern "C" void emulation_switch(void** save, void* to);
asm(R"(
.text
.globl emulation_switch
.type emulation_switch, @function
emulation_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
.size emulation_switch, .-emulation_switch
)");

namespace emulation {

__thread Block* block;
__thread Thread* thread;

namespace {

constexpr size_t PAGE = 4096;
constexpr size_t STACK = 64 << 10;
constexpr unsigned MAX_THREADS = 1024;
constexpr size_t MAX_SHARED = 48 << 10;
constexpr size_t MAX_LARGE_SHARED = 227 << 10;

// Memory between two pages that nobody may touch, its end against the second one. What is left before it is full of NaN.
struct Region {
    unsigned char* pages;
    size_t page_bytes;
    size_t bytes;
    unsigned char* start() const { return pages + PAGE + page_bytes - bytes; }
};

Region map(size_t wanted) {
    size_t bytes = (wanted + 15) / 16 * 16;
    if (bytes == 0) bytes = 16;
    if (bytes < wanted || bytes > SIZE_MAX / 2) return {};
    size_t page_bytes = (bytes + PAGE - 1) / PAGE * PAGE;
    void* pages = mmap(nullptr, page_bytes + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) return {};
    Region region{static_cast<unsigned char*>(pages), page_bytes, bytes};
    if (mprotect(region.pages + PAGE, page_bytes, PROT_READ | PROT_WRITE) != 0) {
        munmap(pages, page_bytes + 2 * PAGE);
        return {};
    }
    memset(region.pages + PAGE, 0xFF, page_bytes - bytes);
    return region;
}

void unmap(const Region& region) { munmap(region.pages, region.page_bytes + 2 * PAGE); }

std::map<std::string, Kernel>& kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

struct Allocations {
    std::mutex mutex;
    std::map<uintptr_t, Region> all;  // by the start
};

Allocations& allocations() {
    static Allocations all;
    return all;
}

struct Shared {
    const void* site;
    Region region;
    bool fresh;
};

// What one thread of the host runs blocks with. Kept from launch to launch.
struct Worker {
    Block block;
    Thread threads[MAX_THREADS];
    unsigned char* stacks = nullptr;
    std::vector<Shared> shared;
    size_t shared_bytes = 0;
    void* scheduler = nullptr;
    Body body = nullptr;
    const void* params = nullptr;
    unsigned order = 0;
    unsigned long long events = 0;  // of barriers with phases
    bool failed = false;
    uintptr_t bad_address = 0;
    char message[512];

    ~Worker() {
        for (Shared& s : shared) unmap(s.region);
        if (stacks) munmap(stacks, MAX_THREADS * STACK);
    }
};

thread_local Worker* worker;

void yield(State state) {
    thread->state = state;
    emulation_switch(&thread->stack_pointer, worker->scheduler);
}

void enter() {
    worker->body(worker->params);
    if (thread->copies) fault("a thread left with copies that it had not waited for");
    if (thread->products) fault("a thread left with products that it had not waited for");
    yield(State::Done);
    abort();
}

// Where the signal handler makes a faulting thread go on.
[[noreturn]] void trap() {
    uintptr_t at = worker->bad_address;
    char text[256];
    uintptr_t stacks = reinterpret_cast<uintptr_t>(worker->stacks);
    if (at == 1) fault("a division of integers by zero");
    if (at >= stacks && at < stacks + MAX_THREADS * STACK) fault("a thread's stack overflowed");
    for (const Shared& s : worker->shared) {
        uintptr_t start = reinterpret_cast<uintptr_t>(s.region.start());
        if (at + PAGE >= start && at < start + s.region.bytes + PAGE) {
            snprintf(text, sizeof text, "shared memory touched %td bytes from the start of an object of %zu", static_cast<ptrdiff_t>(at - start), s.region.bytes);
            fault(text);
        }
    }
    {
        std::lock_guard<std::mutex> lock(allocations().mutex);
        auto& all = allocations().all;
        auto next = all.upper_bound(at);
        if (next != all.begin()) {
            auto [start, region] = *std::prev(next);
            snprintf(text, sizeof text, "memory touched %td bytes past the end of an allocation of %zu bytes", static_cast<ptrdiff_t>(at - start - region.bytes), region.bytes);
        } else {
            snprintf(text, sizeof text, "memory touched at %#zx, where nothing is allocated", static_cast<size_t>(at));
        }
    }
    fault(text);
}

struct sigaction previous_segv, previous_bus, previous_fpe;

void handle(int signal, siginfo_t* info, void* context) {
    if (!thread) {
        // Not a kernel's: whoever was there before decides.
        struct sigaction& previous = signal == SIGSEGV ? previous_segv : signal == SIGBUS ? previous_bus : previous_fpe;
        sigaction(signal, &previous, nullptr);
        return;
    }
    worker->bad_address = signal == SIGFPE ? 1 : reinterpret_cast<uintptr_t>(info->si_addr);
    auto* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    registers[REG_RIP] = reinterpret_cast<greg_t>(&trap);
    // On the scheduler's side of the stack's end the thread's own stack may be full: start it anew, as `trap` never returns.
    uintptr_t top = reinterpret_cast<uintptr_t>(worker->stacks) + (thread->linear + 1) * STACK - 64;
    registers[REG_RSP] = static_cast<greg_t>(top / 16 * 16 - 8);
}

void install_handler() {
    struct sigaction action{};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &previous_segv);
    sigaction(SIGBUS, &action, &previous_bus);
    sigaction(SIGFPE, &action, &previous_fpe);
}

// Place k of 0..count in this launch's order.
unsigned place(unsigned order, unsigned k, unsigned count) {
    switch (order % 3) {
        case 0: return k;
        case 1: return count - 1 - k;
        default: return count % 2 ? count - 1 - k : (k ^ 1);
    }
}

void start(Worker& w, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        Thread& t = w.threads[i];
        t.linear = i;
        t.index = {i % w.block.threads.x, i / w.block.threads.x % w.block.threads.y, i / w.block.threads.x / w.block.threads.y};
        t.state = State::Ready;
        t.groups = t.copies = t.product_groups = t.products = 0;
        // Stacks are staggered, lest their tops share a few sets of the cache.
        auto* top = reinterpret_cast<void**>(w.stacks + (i + 1) * STACK - 128 - i % 16 * 256);
        *--top = nullptr;
        *--top = reinterpret_cast<void*>(enter);
        for (int saved = 0; saved < 6; saved++) *--top = nullptr;
        t.stack_pointer = top;
    }
    for (Shared& s : w.shared) s.fresh = false;
    w.shared_bytes = 0;
}

void run(Worker& w, Thread& t) {
    thread = &t;
    emulation_switch(&w.scheduler, t.stack_pointer);
    thread = nullptr;
}

// Runs the lanes `first..end` until each waits at the barrier or has left. False after a fault.
bool run_warp(Worker& w, unsigned first, unsigned end) {
    for (;;) {
        for (unsigned k = 0; k < end - first; k++) {
            Thread& t = w.threads[first + place(w.order, k, end - first)];
            if (t.state == State::Ready) run(w, t);
            if (w.failed) return false;
        }
        unsigned waiting = 0;
        for (unsigned i = first; i < end; i++) waiting += w.threads[i].state == State::AtWarp;
        if (waiting == 0) return true;
        for (unsigned i = first; i < end; i++) {
            if (w.threads[i].state == State::AtWarp) {
                w.threads[i].state = State::Ready;
                continue;
            }
            thread = &w.threads[i];
            snprintf(w.message, sizeof w.message, "some lanes of a warp wait for each other while others %s",
                     thread->state == State::Done ? "have left the kernel" : "wait at __syncthreads");
            thread = nullptr;
            w.failed = true;
            return false;
        }
    }
}

bool run_block(Worker& w, unsigned count) {
    start(w, count);
    unsigned warps = (count + WARP - 1) / WARP;
    unsigned long long events = 0;
    for (unsigned idle = 0;;) {
        for (unsigned k = 0; k < warps; k++) {
            unsigned first = place(w.order, k, warps) * WARP;
            if (!run_warp(w, first, first + WARP < count ? first + WARP : count)) return false;
        }
        unsigned done = 0, phases = 0;
        for (unsigned i = 0; i < count; i++) {
            done += w.threads[i].state == State::Done;
            phases += w.threads[i].state == State::AtPhase;
        }
        if (done == count) return true;
        if (phases) {
            idle = events == w.events ? idle + 1 : 0;
            events = w.events;
            if (idle == 2) {
                snprintf(w.message, sizeof w.message, "%u threads of a block wait for a phase of a barrier that nobody ends", phases);
                w.failed = true;
                return false;
            }
            for (unsigned i = 0; i < count; i++) {
                if (w.threads[i].state == State::AtPhase) w.threads[i].state = State::Ready;
            }
            continue;
        }
        if (done) {
            snprintf(w.message, sizeof w.message, "%u threads of a block wait at __syncthreads, %u have left the kernel", count - done, done);
            w.failed = true;
            return false;
        }
        for (unsigned i = 0; i < count; i++) w.threads[i].state = State::Ready;
    }
}

}  // namespace

Registration::Registration(const char* name, const Kernel& kernel) { kernels()[name] = kernel; }

const Kernel* find(const char* name) {
    auto found = kernels().find(name);
    return found == kernels().end() ? nullptr : &found->second;
}

void wait_barrier() { yield(State::AtBarrier); }
void wait_warp() { yield(State::AtWarp); }

[[noreturn]] void fault(const char* what) {
    snprintf(worker->message, sizeof worker->message, "%s (block %u, thread %u)", what, block->index.x, thread->linear);
    worker->failed = true;
    yield(State::Done);
    abort();
}

namespace {

// An object of a block, by the place in the source that names it.
Shared& object(const void* site, size_t bytes) {
    Worker& w = *worker;
    for (Shared& s : w.shared) {
        if (s.site != site) continue;
        if (s.fresh) return s;
        s.fresh = true;
        memset(s.region.start(), 0xFF, s.region.bytes);
        if (bytes <= MAX_SHARED) w.shared_bytes += s.region.bytes;
        if (w.shared_bytes > MAX_SHARED) fault("a block wants more than 48 KiB of shared memory");
        return s;
    }
    Region region = map(bytes);
    if (!region.pages) fault("the host has no memory for a shared object");
    w.shared.push_back({site, region, false});
    return object(site, bytes);
}

// A phase ends with the last thread that is waited for, and the last byte.
void step_on(Barrier& b) {
    worker->events++;
    if (b.waited_for > 0 || b.bytes != 0) return;
    b.parity ^= 1;
    b.waited_for = b.threads;
}

// What a tensor map of this device holds.
struct Matrix {
    unsigned long long first, length, lines, line_bytes;
    unsigned element_bytes, box_length, box_lines, unused;
};

}  // namespace

void* shared(const void* site, size_t bytes) { return object(site, bytes).region.start(); }

void* large_shared(const void* site, size_t bytes) {
    if (bytes <= MAX_SHARED || bytes + 1024 > MAX_LARGE_SHARED || bytes % 1024) fault("an object that is not for large shared memory");
    return object(site, bytes).region.start();
}

void phases_start(Barrier& b, unsigned threads) {
    b = {0, static_cast<unsigned short>(threads), static_cast<unsigned short>(threads), 0};
}

void phase_arrive(Barrier& b, unsigned bytes) {
    if (b.waited_for == 0) fault("more threads arrive at a barrier than it waits for");
    b.bytes += static_cast<int>(bytes);
    b.waited_for--;
    step_on(b);
}

void phase_wait(Barrier& b, unsigned parity) {
    while (b.parity == (parity & 1)) yield(State::AtPhase);
}

// Chunks of 16 bytes of a line lie by the line's place among eight.
void box_copy(void* to, const unsigned long long (&map)[16], unsigned along, unsigned line, Barrier& b) {
    Matrix m;
    memcpy(&m, map, sizeof m);
    unsigned bytes = m.box_length * m.element_bytes;
    if (bytes != 128 || reinterpret_cast<uintptr_t>(to) % 1024) fault("a box of lines that are not 128 bytes, or that is not aligned to 1,024");
    for (unsigned i = 0; i < m.box_lines; i++) {
        for (unsigned j = 0; j < m.box_length; j++) {
            unsigned char* at = static_cast<unsigned char*>(to) + i * bytes + (j * m.element_bytes ^ i % 8 * 16);
            bool inside = along + j < m.length && line + i < m.lines;
            const void* from = reinterpret_cast<const void*>(m.first + (line + i) * m.line_bytes + (along + j) * m.element_bytes);
            inside ? memcpy(at, from, m.element_bytes) : memset(at, 0, m.element_bytes);
        }
    }
    b.bytes -= static_cast<int>(bytes * m.box_lines);
    step_on(b);
}

void product_later(void (*add)(void* sums, const void* left, const void* right), void* sums, const void* left, const void* right) {
    if (thread->products == MAX_PRODUCTS) fault("a thread has more products under way than the emulation keeps");
    thread->product[thread->products++] = {add, sums, left, right, thread->product_groups};
}

void products_commit() { thread->product_groups++; }

// Late, so that factors that are written anew too early show.
void products_wait(unsigned pending) {
    unsigned kept = 0;
    for (unsigned i = 0; i < thread->products; i++) {
        Product product = thread->product[i];
        if (product.group + pending >= thread->product_groups) {
            thread->product[kept++] = product;
        } else {
            product.add(product.sums, product.left, product.right);
        }
    }
    thread->products = kept;
}

void copy_async(void* to, const void* from, unsigned bytes, unsigned valid) {
    if (thread->copies == MAX_COPIES) fault("a thread has more copies under way than the emulation keeps");
    thread->copy[thread->copies++] = {to, from, bytes, valid, thread->groups};
}

void copy_commit() { thread->groups++; }

// Nothing arrives before it is waited for, so that a missing wait shows.
void copy_wait(unsigned pending) {
    unsigned kept = 0;
    for (unsigned i = 0; i < thread->copies; i++) {
        Copy copy = thread->copy[i];
        if (copy.group + pending >= thread->groups) {
            thread->copy[kept++] = copy;
            continue;
        }
        memcpy(copy.to, copy.from, copy.valid);
        memset(static_cast<char*>(copy.to) + copy.valid, 0, copy.bytes - copy.valid);
    }
    thread->copies = kept;
}

}  // namespace emulation

using namespace emulation;

// Zeroed memory, or null.
extern "C" void* emulation_allocate(size_t bytes) {
    Region region = map(bytes);
    if (!region.pages) return nullptr;
    std::lock_guard<std::mutex> lock(allocations().mutex);
    allocations().all[reinterpret_cast<uintptr_t>(region.start())] = region;
    return region.start();
}

extern "C" void emulation_free(void* at) {
    std::lock_guard<std::mutex> lock(allocations().mutex);
    auto found = allocations().all.find(reinterpret_cast<uintptr_t>(at));
    if (found == allocations().all.end()) return;
    unmap(found->second);
    allocations().all.erase(found);
}

// Runs a kernel to its end. Null, or what went wrong, until the next launch from this thread.
extern "C" const char* emulation_launch(const char* name, unsigned blocks, unsigned threads, const void* params, size_t params_bytes,
                                        unsigned order) {
    static std::once_flag once;
    std::call_once(once, install_handler);
    // On the heap: what is local to a thread lies in its stack.
    static thread_local std::unique_ptr<Worker> own(new Worker);
    Worker& w = *own;
    worker = &w;
    const Kernel* found = find(name);
    if (!found) {
        snprintf(w.message, sizeof w.message, "there is no kernel %s", name);
        return w.message;
    }
    const Kernel& kernel = *found;
    if (kernel.params_bytes != params_bytes || kernel.threads != threads) {
        snprintf(w.message, sizeof w.message, "%s takes %zu bytes of parameters and %u threads, got %zu and %u", name, kernel.params_bytes,
                 kernel.threads, params_bytes, threads);
        return w.message;
    }
    if (!w.stacks) {
        void* stacks = mmap(nullptr, MAX_THREADS * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks == MAP_FAILED) return "the host has no memory for the stacks of a block";
        w.stacks = static_cast<unsigned char*>(stacks);
        for (unsigned i = 0; i < MAX_THREADS; i++) mprotect(w.stacks + i * STACK, PAGE, PROT_NONE);
    }
    w.body = kernel.body;
    w.params = params;
    w.order = order;
    w.failed = false;
    block = &w.block;
    w.block.threads = {threads, 1, 1};
    w.block.blocks = {blocks, 1, 1};
    for (unsigned k = 0; k < blocks; k++) {
        w.block.index = {place(order, k, blocks), 0, 0};
        if (!run_block(w, threads)) return w.message;
    }
    return nullptr;
}
