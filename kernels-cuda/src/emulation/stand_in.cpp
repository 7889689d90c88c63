// NVIDIA's driver library, as far as this crate asks for it, over the emulation: `libcuda.so` of the tests of `driver/gpu.rs`.
//
// It is as late and as strict as a driver may be. Work of a stream runs when something waits for it, so that memory which is freed,
// reused or changed too early shows; memory comes full of NaN; whatever CUDA leaves undefined (a stale handle, a copy outside an
// allocation, something left over when the context goes) ends the process with status 97 and a reason.
//
// The environment says what to be:
//   STAND_IN_DEVICES     how many devices there are (1)
//   STAND_IN_CAPABILITY  compute capability of all of them (90), and of the last one where there are several, 80
//   STAND_IN_VERSION     of the driver (13000)
//   STAND_IN_FAIL        CALL:N:CODE makes the N-th call of an entry point fail with a code, and says so; CALL may be `kernel`, which
//                        then fails when it runs. What is left over is no fault after that.
//   STAND_IN_COUNT       set, makes the library tell at the end how often each entry point was called
#include "emulation.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unistd.h>
#include <vector>

extern "C" void* emulation_allocate(size_t bytes);
extern "C" void emulation_free(void* at);
extern "C" const char* emulation_launch(const char* name, unsigned blocks, unsigned threads, const void* params, size_t params_bytes,
                                        unsigned order);

namespace {

enum Result {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700,
};

constexpr size_t MEMORY = size_t{8} << 30;
constexpr int MULTIPROCESSORS = 2;

[[noreturn]] void violation(const std::string& what) {
    fprintf(stderr, "stand-in driver: %s\n", what.c_str());
    _exit(97);
}

void demand(bool right, const char* what) {
    if (!right) violation(what);
}

int number(const char* variable, int otherwise) {
    const char* text = getenv(variable);
    return text ? atoi(text) : otherwise;
}

// What a handle points at. Never given back, so that a stale handle is known.
struct Object {
    virtual ~Object() = default;
    bool live = true;
};

struct Work {
    std::function<void()> run;
    const Object* uses;
};

struct Context;

struct Owned : Object {
    Context* context;
};

struct Stream : Owned {
    std::deque<Work> queued;
};

struct Event : Owned {
    Stream* stream = nullptr;
    unsigned pending = 0;
};

struct Function : Owned {
    std::string name;
    const emulation::Kernel* kernel;
    // Bytes it may be launched with.
    unsigned shared = 48 << 10;
};

struct Module : Owned {
    std::string file;            // of the stand-in's own images
    std::set<std::string> names;  // of NVRTC's
    std::vector<Function*> functions;
};

// As in cuda.h.
struct NodeParams {
    Object* function;
    unsigned blocks[3], threads[3], shared;
    void** params;
    void** extra;
    void* kernel;
    void* context;
};

struct Graph;

struct Node : Owned {
    Graph* graph;
    const Function* function;
    Dim blocks;
    std::vector<unsigned char> params;
};

struct Graph : Owned {
    std::vector<Node*> nodes;
};

struct Ready : Owned {
    Graph* made_of;
    // As of the next start.
    std::map<const Node*, Work> work;
};

struct Memory {
    size_t bytes;
    bool host;
    bool freed;
};

struct Context : Object {
    int references = 0;
    // The error that every call gives from now on.
    Result lost = SUCCESS;
    std::map<uintptr_t, Memory> memory;
    size_t live_bytes = 0;
    std::set<Owned*> owned;
};

struct Driver {
    std::mutex mutex;
    bool initialized = false;
    int devices = number("STAND_IN_DEVICES", 1);
    Context contexts[8];
    std::set<const void*> handles;
    unsigned launches = 0;
    std::string fail_call;
    int fail_at = 0;
    Result fail_with = SUCCESS;
    std::map<std::string, unsigned> calls;

    Driver() {
        const char* text = getenv("STAND_IN_FAIL");
        if (!text) return;
        std::string all = text;
        size_t first = all.find(':'), second = all.find(':', first + 1);
        demand(second != std::string::npos, "STAND_IN_FAIL is not CALL:N:CODE");
        fail_call = all.substr(0, first);
        fail_at = atoi(all.c_str() + first + 1);
        fail_with = static_cast<Result>(atoi(all.c_str() + second + 1));
    }

    ~Driver() {
        if (getenv("STAND_IN_COUNT")) {
            for (auto& [call, count] : calls) fprintf(stderr, "stand-in driver: %s was called %u times\n", call.c_str(), count);
        }
        if (!fail_call.empty()) return;
        for (Context& context : contexts) demand(context.references == 0 || context.lost, "the process ends and a context is still there");
    }
};

Driver driver;
thread_local Context* current;

// Whether this call is the one that is to fail.
Result planned(const char* call) {
    driver.calls[call]++;
    if (driver.fail_call != call || --driver.fail_at != 0) return SUCCESS;
    fprintf(stderr, "stand-in driver: %s fails as it was to\n", call);
    if (driver.fail_with >= ILLEGAL_ADDRESS && current) current->lost = driver.fail_with;
    return driver.fail_with;
}

template <class T>
T* live(const void* handle, const char* kind) {
    if (!driver.handles.count(handle)) violation(std::string("no handle of ") + kind);
    T* object = dynamic_cast<T*>(static_cast<Object*>(const_cast<void*>(handle)));
    if (!object) violation(std::string("a handle of something else than ") + kind);
    if (!object->live) violation(std::string("a stale handle of ") + kind);
    return object;
}

template <class T>
T* owned(const void* handle, const char* kind) {
    T* object = live<T>(handle, kind);
    if (object->context != current) violation(std::string("a handle of another context's ") + kind);
    return object;
}

template <class T>
T* make() {
    T* made = new T;
    made->context = current;
    current->owned.insert(made);
    driver.handles.insert(static_cast<Object*>(made));
    return made;
}

void destroy(Owned* object) {
    for (Owned* other : current->owned) {
        auto* stream = dynamic_cast<Stream*>(other);
        if (!stream) continue;
        for (const Work& work : stream->queued) demand(work.uses != object, "a handle is destroyed while queued work uses it");
    }
    object->live = false;
    current->owned.erase(object);
}

void run_until(Stream* stream, const std::function<bool()>& done) {
    while (!stream->queued.empty() && !done()) {
        Work work = std::move(stream->queued.front());
        stream->queued.pop_front();
        work.run();
        if (stream->context->lost) stream->queued.clear();
    }
}

void run_all(Stream* stream) {
    run_until(stream, [] { return false; });
}

uintptr_t memory_at(const void* at, size_t bytes, bool host, const char* what) {
    auto address = reinterpret_cast<uintptr_t>(at);
    auto next = current->memory.upper_bound(address);
    if (next != current->memory.begin()) {
        auto& [start, memory] = *std::prev(next);
        if (memory.host == host && !memory.freed && address - start <= memory.bytes && bytes <= memory.bytes - (address - start)) return start;
        if (memory.freed && address < start + memory.bytes) violation(std::string(what) + ": memory that has been freed");
    }
    violation(std::string(what) + ": outside every allocation");
}

Result allocate(void** at, size_t bytes, bool host) {
    if (bytes == 0) return INVALID_VALUE;
    if (!host && bytes > MEMORY - current->live_bytes) return OUT_OF_MEMORY;
    *at = emulation_allocate(bytes);
    if (!*at) return OUT_OF_MEMORY;
    memset(*at, 0xFF, bytes);
    current->memory[reinterpret_cast<uintptr_t>(*at)] = {bytes, host, false};
    if (!host) current->live_bytes += bytes;
    return SUCCESS;
}

uint64_t hash(const void* at, size_t bytes) {
    uint64_t hash = 0xCBF29CE484222325;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ static_cast<const unsigned char*>(at)[i]) * 0x100000001B3;
    return hash;
}

// One launch, with its own copy of the parameters.
std::function<void()> launch(const Function* function, unsigned blocks, const void* params) {
    auto* bytes = static_cast<const unsigned char*>(params);
    std::vector<unsigned char> own(bytes, bytes + function->kernel->params_bytes);
    Context* context = function->context;
    return [=] {
        const char* fault = "it was to fail";
        Result fails = planned("kernel");
        if (!fails) {
            fault = emulation_launch(function->name.c_str(), blocks, function->kernel->threads, own.data(), own.size(), driver.launches++);
            if (!fault) return;
        }
        fprintf(stderr, "stand-in driver: %s: %s\n", function->name.c_str(), fault);
        context->lost = fails ? fails : ILLEGAL_ADDRESS;
    };
}

Result check_launch(const Function* function, Dim blocks, Dim threads, unsigned shared, void** params, void** extra) {
    bool flat = blocks.y == 1 && blocks.z == 1 && threads.y == 1 && threads.z == 1;
    bool fits = blocks.x > 0 && blocks.x <= 0x7FFFFFFF && threads.x == function->kernel->threads;
    return flat && fits && shared <= function->shared && params && !extra ? SUCCESS : INVALID_VALUE;
}

Result check_node(const NodeParams& node) {
    Dim blocks = {node.blocks[0], node.blocks[1], node.blocks[2]}, threads = {node.threads[0], node.threads[1], node.threads[2]};
    if (node.kernel) return INVALID_VALUE;
    return check_launch(owned<Function>(node.function, "a kernel"), blocks, threads, node.shared, node.params, node.extra);
}

template <class T>
T at(const unsigned char* image, size_t offset) {
    T value;
    memcpy(&value, image + offset, sizeof(T));
    return value;
}

// Names of the kernels in a cubin, from its sections `.text.NAME`.
std::set<std::string> kernels_of(const unsigned char* elf) {
    std::set<std::string> names;
    auto sections = at<uint64_t>(elf, 0x28);
    auto size = at<uint16_t>(elf, 0x3A), count = at<uint16_t>(elf, 0x3C), texts = at<uint16_t>(elf, 0x3E);
    auto text = at<uint64_t>(elf, sections + size * texts + 0x18);
    for (unsigned i = 0; i < count; i++) {
        std::string name = reinterpret_cast<const char*>(elf + text + at<uint32_t>(elf, sections + size * i));
        if (name.rfind(".text.", 0) == 0) names.insert(name.substr(6));
    }
    return names;
}

std::string stem(std::string file) {
    file = file.substr(file.rfind('/') + 1);
    return file.substr(0, file.find('.'));
}

}  // namespace

// Entry points run one thread at a time, and fail where they are to.
#define ENTER                                       \
    std::lock_guard<std::mutex> lock(driver.mutex); \
    if (Result fails = planned(__func__)) return fails

// Those of a context tell of what broke it before.
#define ENTER_CONTEXT                                \
    ENTER;                                           \
    if (!driver.initialized) return NOT_INITIALIZED; \
    if (!current) return INVALID_CONTEXT;            \
    if (current->lost) return current->lost

extern "C" {

Result cuInit(unsigned flags) {
    ENTER;
    if (driver.devices == 0) return NO_DEVICE;
    driver.initialized = true;
    return flags ? INVALID_VALUE : SUCCESS;
}

Result cuDriverGetVersion(int* version) {
    ENTER;
    *version = number("STAND_IN_VERSION", 13000);
    return SUCCESS;
}

Result cuGetErrorString(Result error, const char** text) {
    *text = error == NO_DEVICE ? "no CUDA-capable device is detected" : "an error of the stand-in";
    return SUCCESS;
}

Result cuDeviceGetCount(int* count) {
    ENTER;
    if (!driver.initialized) return NOT_INITIALIZED;
    *count = driver.devices;
    return SUCCESS;
}

Result cuDeviceGet(int* device, int ordinal) {
    ENTER;
    if (!driver.initialized) return NOT_INITIALIZED;
    *device = ordinal;
    return ordinal >= 0 && ordinal < driver.devices ? SUCCESS : INVALID_DEVICE;
}

Result cuDeviceGetName(char* name, int length, int device) {
    ENTER;
    snprintf(name, length, "Stand-in %c", 'A' + device);
    return SUCCESS;
}

Result cuDeviceTotalMem_v2(size_t* bytes, int) {
    ENTER;
    *bytes = MEMORY;
    return SUCCESS;
}

Result cuDeviceGetAttribute(int* value, int attribute, int device) {
    ENTER;
    bool other = device > 0 && device == driver.devices - 1;
    int capability = other ? 80 : number("STAND_IN_CAPABILITY", 90);
    switch (attribute) {
        case 16: *value = MULTIPROCESSORS; return SUCCESS;
        case 75: *value = capability / 10; return SUCCESS;
        case 76: *value = capability % 10; return SUCCESS;
        case 115: *value = 1; return SUCCESS;  // memory pools
        default: return INVALID_VALUE;
    }
}

Result cuDevicePrimaryCtxRetain(void** context, int device) {
    ENTER;
    if (!driver.initialized) return NOT_INITIALIZED;
    driver.contexts[device].references++;
    driver.handles.insert(*context = static_cast<Object*>(&driver.contexts[device]));
    return SUCCESS;
}

Result cuDevicePrimaryCtxRelease_v2(int device) {
    ENTER;
    Context& context = driver.contexts[device];
    demand(context.references > 0, "a context released more often than retained");
    if (--context.references > 0 || context.lost || !driver.fail_call.empty()) return SUCCESS;
    demand(context.owned.empty(), "a context goes and streams, events or modules are still there");
    for (auto& [start, memory] : context.memory) {
        demand(memory.freed, memory.host ? "a context goes and memory of the host is still there" : "a context goes and memory is still there");
    }
    return SUCCESS;
}

Result cuCtxGetCurrent(void** context) {
    ENTER;
    *context = current ? static_cast<Object*>(current) : nullptr;
    return SUCCESS;
}

Result cuCtxSetCurrent(void* context) {
    ENTER;
    current = context ? live<Context>(context, "a context") : nullptr;
    demand(!current || current->references > 0, "a context that has been released is made current");
    return SUCCESS;
}

Result cuCtxSynchronize() {
    ENTER_CONTEXT;
    for (Owned* object : current->owned) {
        if (auto* stream = dynamic_cast<Stream*>(object)) run_all(stream);
    }
    return current->lost;
}

Result cuStreamCreate(void** stream, unsigned) {
    ENTER_CONTEXT;
    *stream = make<Stream>();
    return SUCCESS;
}

Result cuStreamSynchronize(void* stream) {
    ENTER_CONTEXT;
    run_all(owned<Stream>(stream, "a stream"));
    return current->lost;
}

Result cuStreamDestroy_v2(void* handle) {
    ENTER_CONTEXT;
    auto* stream = owned<Stream>(handle, "a stream");
    demand(stream->queued.empty(), "a stream is destroyed before its work is done");
    destroy(stream);
    return SUCCESS;
}

Result cuEventCreate(void** event, unsigned) {
    ENTER_CONTEXT;
    *event = make<Event>();
    return SUCCESS;
}

Result cuEventRecord(void* handle, void* on) {
    ENTER_CONTEXT;
    auto* event = owned<Event>(handle, "an event");
    event->stream = owned<Stream>(on, "a stream");
    event->pending++;
    event->stream->queued.push_back({[=] { event->pending--; }, event});
    return SUCCESS;
}

Result cuEventSynchronize(void* handle) {
    ENTER_CONTEXT;
    auto* event = owned<Event>(handle, "an event");
    if (event->stream) run_until(event->stream, [=] { return event->pending == 0; });
    return current->lost;
}

Result cuEventDestroy_v2(void* event) {
    ENTER_CONTEXT;
    destroy(owned<Event>(event, "an event"));
    return SUCCESS;
}

Result cuDeviceGetDefaultMemPool(void** pool, int device) {
    ENTER;
    *pool = static_cast<Object*>(&driver.contexts[device]);
    return SUCCESS;
}

Result cuMemPoolSetAttribute(void* pool, int attribute, void*) {
    ENTER;
    live<Context>(pool, "a pool");
    return attribute == 4 ? SUCCESS : INVALID_VALUE;
}

Result cuMemPoolTrimTo(void* pool, size_t) {
    ENTER;
    live<Context>(pool, "a pool");
    return SUCCESS;
}

Result cuMemHostAlloc(void** at, size_t bytes, unsigned) {
    ENTER_CONTEXT;
    return allocate(at, bytes, true);
}

Result cuMemFreeHost(void* at) {
    ENTER_CONTEXT;
    demand(memory_at(at, 1, true, __func__) == reinterpret_cast<uintptr_t>(at), "host memory freed from its middle");
    for (Owned* object : current->owned) {
        auto* stream = dynamic_cast<Stream*>(object);
        demand(!stream || stream->queued.empty(), "host memory freed while work is queued");
    }
    emulation_free(at);
    current->memory.erase(reinterpret_cast<uintptr_t>(at));
    return SUCCESS;
}

Result cuMemHostGetDevicePointer_v2(void** device, void* host, unsigned) {
    ENTER_CONTEXT;
    memory_at(host, 1, true, __func__);
    *device = host;
    return SUCCESS;
}

Result cuMemAllocAsync(void** at, size_t bytes, void* stream) {
    ENTER_CONTEXT;
    owned<Stream>(stream, "a stream");
    return allocate(at, bytes, false);
}

Result cuMemFreeAsync(void* at, void* on) {
    ENTER_CONTEXT;
    auto* stream = owned<Stream>(on, "a stream");
    uintptr_t start = memory_at(at, 1, false, __func__);
    demand(start == reinterpret_cast<uintptr_t>(at), "memory freed from its middle");
    Memory& memory = current->memory[start];
    memory.freed = true;
    current->live_bytes -= memory.bytes;
    Context* context = current;
    stream->queued.push_back({[=] {
                                  emulation_free(at);
                                  context->memory.erase(start);
                              },
                              nullptr});
    return SUCCESS;
}

Result cuMemsetD8Async(void* at, unsigned char value, size_t bytes, void* on) {
    ENTER_CONTEXT;
    auto* stream = owned<Stream>(on, "a stream");
    memory_at(at, bytes, false, __func__);
    stream->queued.push_back({[=] { memset(at, value, bytes); }, nullptr});
    return SUCCESS;
}

Result cuMemcpyHtoDAsync_v2(void* to, const void* from, size_t bytes, void* on) {
    ENTER_CONTEXT;
    auto* stream = owned<Stream>(on, "a stream");
    memory_at(to, bytes, false, __func__);
    memory_at(from, bytes, true, __func__);
    uint64_t before = hash(from, bytes);
    stream->queued.push_back({[=] {
                                  demand(hash(from, bytes) == before, "memory of the host has changed before it was copied");
                                  memcpy(to, from, bytes);
                              },
                              nullptr});
    return SUCCESS;
}

// To memory that is not page-locked: done when the call is back.
Result cuMemcpyDtoHAsync_v2(void* to, const void* from, size_t bytes, void* on) {
    ENTER_CONTEXT;
    auto* stream = owned<Stream>(on, "a stream");
    memory_at(from, bytes, false, __func__);
    run_all(stream);
    if (!current->lost) memcpy(to, from, bytes);
    return current->lost;
}

// An image is a cubin of NVRTC's, or `stand-in FILE` and a 0.
Result cuModuleLoadData(void** handle, const void* image) {
    ENTER_CONTEXT;
    auto* bytes = static_cast<const unsigned char*>(image);
    std::string file;
    std::set<std::string> names;
    if (memcmp(bytes, "stand-in ", 9) == 0) {
        file = reinterpret_cast<const char*>(bytes + 9);
    } else if (memcmp(bytes, "\x7f" "ELF", 4) == 0 && at<uint16_t>(bytes, 0x12) == 190) {
        names = kernels_of(bytes);
    } else {
        return INVALID_IMAGE;
    }
    auto* module = make<Module>();
    module->file = file;
    module->names = names;
    *handle = module;
    return SUCCESS;
}

Result cuModuleGetFunction(void** handle, void* of, const char* name) {
    ENTER_CONTEXT;
    auto* module = owned<Module>(of, "a module");
    const emulation::Kernel* kernel = emulation::find(name);
    if (!kernel || (stem(kernel->file) != module->file && !module->names.count(name))) return NOT_FOUND;
    auto* function = make<Function>();
    function->name = name;
    function->kernel = kernel;
    module->functions.push_back(function);
    *handle = function;
    return SUCCESS;
}

Result cuFuncSetAttribute(void* handle, int attribute, int value) {
    ENTER_CONTEXT;
    constexpr int MAX_DYNAMIC_SHARED_SIZE_BYTES = 8, MOST = 227 << 10;
    if (attribute != MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 || value > MOST) return INVALID_VALUE;
    owned<Function>(handle, "a kernel")->shared = static_cast<unsigned>(value);
    return SUCCESS;
}

// A map as the emulation reads it.
Result cuTensorMapEncodeTiled(void* map, int type, unsigned rank, void* first, const uint64_t* size, const uint64_t* strides, const unsigned* box,
                              const unsigned* steps, int interleave, int swizzle, int, int outside) {
    ENTER_CONTEXT;
    constexpr int BYTES_128 = 3;
    uint64_t bytes = type == 0 ? 1 : 2;
    bool known = (type == 0 || type == 6 || type == 9) && rank == 2 && interleave == 0 && swizzle == BYTES_128 && outside == 0;
    bool small = box[0] * bytes <= 128 && box[0] > 0 && box[1] > 0 && box[1] <= 256 && size[0] > 0 && size[1] > 0;
    bool aligned = reinterpret_cast<uintptr_t>(first) % 16 == 0 && strides[0] % 16 == 0 && strides[0] > 0 && strides[0] < 1ull << 40;
    aligned = aligned && strides[0] >= size[0] * bytes;
    bool whole = size[0] <= 1ull << 32 && size[1] <= 1ull << 32 && steps[0] == 1 && steps[1] == 1;
    if (!known || !small || !aligned || !whole) return INVALID_VALUE;
    uint64_t words[16] = {reinterpret_cast<uint64_t>(first), size[0], size[1], strides[0], static_cast<uint64_t>(box[0]) << 32 | bytes, box[1]};
    memcpy(map, words, sizeof words);
    return SUCCESS;
}

Result cuModuleUnload(void* handle) {
    ENTER_CONTEXT;
    auto* module = owned<Module>(handle, "a module");
    auto is_of_module = [&](const Node* node) {
        return std::find(module->functions.begin(), module->functions.end(), node->function) != module->functions.end();
    };
    for (Owned* other : current->owned) {
        auto* ready = dynamic_cast<Ready*>(other);
        Graph* graph = ready ? ready->made_of : dynamic_cast<Graph*>(other);
        bool uses = driver.fail_call.empty() && graph && std::any_of(graph->nodes.begin(), graph->nodes.end(), is_of_module);
        demand(!uses, "a module is unloaded while a graph has a kernel of it");
    }
    for (Function* function : module->functions) destroy(function);
    destroy(module);
    return SUCCESS;
}

Result cuLaunchKernel(void* handle, unsigned blocks, unsigned y, unsigned z, unsigned threads, unsigned thread_y, unsigned thread_z, unsigned shared,
                      void* on, void** params, void** extra) {
    ENTER_CONTEXT;
    auto* stream = owned<Stream>(on, "a stream");
    auto* function = owned<Function>(handle, "a kernel");
    if (Result wrong = check_launch(function, {blocks, y, z}, {threads, thread_y, thread_z}, shared, params, extra)) return wrong;
    stream->queued.push_back({launch(function, blocks, params[0]), function});
    return SUCCESS;
}

Result cuGraphCreate(void** graph, unsigned) {
    ENTER_CONTEXT;
    *graph = make<Graph>();
    return SUCCESS;
}

// Nodes come one after the other, each behind the one before.
Result cuGraphAddKernelNode_v2(void** handle, void* of, void* const* behind, size_t count, const NodeParams* params) {
    ENTER_CONTEXT;
    auto* graph = owned<Graph>(of, "a graph");
    demand(count == (graph->nodes.empty() ? 0 : 1) && (count == 0 || *behind == graph->nodes.back()), "a kernel of a graph out of order");
    if (Result wrong = check_node(*params)) return wrong;
    auto* node = make<Node>();
    node->graph = graph;
    node->function = owned<Function>(params->function, "a kernel");
    node->blocks = {params->blocks[0], 1, 1};
    auto* bytes = static_cast<const unsigned char*>(params->params[0]);
    node->params.assign(bytes, bytes + node->function->kernel->params_bytes);
    graph->nodes.push_back(node);
    *handle = node;
    return SUCCESS;
}

Result cuGraphInstantiateWithFlags(void** handle, void* of, unsigned long long) {
    ENTER_CONTEXT;
    auto* graph = owned<Graph>(of, "a graph");
    auto* ready = make<Ready>();
    ready->made_of = graph;
    for (const Node* node : graph->nodes) ready->work[node] = {launch(node->function, node->blocks.x, node->params.data()), ready};
    *handle = ready;
    return SUCCESS;
}

Result cuGraphExecKernelNodeSetParams_v2(void* handle, void* of, const NodeParams* params) {
    ENTER_CONTEXT;
    auto* ready = owned<Ready>(handle, "a graph that is ready");
    auto* node = owned<Node>(of, "a node");
    demand(node->graph == ready->made_of, "a node of another graph");
    demand(node->function == params->function, "another kernel than the graph was made with");
    if (Result wrong = check_node(*params)) return wrong;
    ready->work[node].run = launch(node->function, params->blocks[0], params->params[0]);
    return SUCCESS;
}

Result cuGraphLaunch(void* handle, void* on) {
    ENTER_CONTEXT;
    auto* stream = owned<Stream>(on, "a stream");
    auto* ready = owned<Ready>(handle, "a graph that is ready");
    for (const Node* node : ready->made_of->nodes) stream->queued.push_back(ready->work[node]);
    return SUCCESS;
}

Result cuGraphExecDestroy(void* handle) {
    ENTER_CONTEXT;
    destroy(owned<Ready>(handle, "a graph that is ready"));
    return SUCCESS;
}

Result cuGraphDestroy(void* handle) {
    ENTER_CONTEXT;
    auto* graph = owned<Graph>(handle, "a graph");
    for (Node* node : graph->nodes) destroy(node);
    destroy(graph);
    return SUCCESS;
}

}  // extern "C"
