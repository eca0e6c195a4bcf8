// A warmed-up run allocates nothing of zood's own, nothing large anywhere, makes no oneDNN object
// and reorders no memory. Counted by replacing the allocator and of oneDNN's entry
// points. (oneDNN itself makes a few small allocations in each call of a primitive.)
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <oneapi/dnnl/dnnl.h>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "engine/executable.h"
#include "engine/training_program.h"
#include "models/zoo.h"
#include "tests/support/fill_variables.h"
#include "tests/support/status_testing.h"

namespace {

struct Counts {
  std::atomic<int> own{0};        // asked for by anyone but oneDNN, OpenMP and the C library
  std::atomic<int> large{0};      // over 4 KiB, by anyone
  std::atomic<int> created{0};    // oneDNN primitives, descriptions and memories
  std::atomic<int> reordered{0};  // reorder primitives executed
  std::atomic<int> inexact{0};    // primitives made that may round float32 before they multiply
};
Counts counts;
std::atomic<bool> counting{false};

constexpr std::size_t kLarge = 4096;

// Whether `address` lies in this binary, into which zood is linked statically, or in a library that
// works on zood's behalf: C++'s, Abseil's. oneDNN, OpenMP and the C library answer for themselves.
bool IsOwn(const void* address) {
  Dl_info info{};
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return true;
  const std::string_view path = info.dli_fname;
  const std::string_view file = path.substr(path.rfind('/') + 1);
  return !(file.starts_with("libdnnl") || file.starts_with("libgomp") ||
           file.starts_with("libc.so") || file.starts_with("ld-linux"));
}

void Count(std::size_t size, const void* caller) {
  if (!counting.load(std::memory_order_relaxed)) return;
  if (size > kLarge) ++counts.large;
  if (IsOwn(caller)) ++counts.own;
}

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void __libc_free(void* memory);

void* malloc(std::size_t size) {
  Count(size, __builtin_return_address(0));
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  Count(count * size, __builtin_return_address(0));
  return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) {
  Count(size, __builtin_return_address(0));
  return __libc_realloc(memory, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  Count(size, __builtin_return_address(0));
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  Count(size, __builtin_return_address(0));
  *memory = __libc_memalign(alignment, size);
  return *memory == nullptr ? 12 : 0;
}

dnnl_status_t dnnl_primitive_create(dnnl_primitive_t* primitive,
                                    const_dnnl_primitive_desc_t description) {
  if (counting) {
    ++counts.created;
    const_dnnl_primitive_attr_t attributes = nullptr;
    dnnl_fpmath_mode_t mode = dnnl_fpmath_mode_any;
    dnnl_primitive_desc_get_attr(description, &attributes);
    dnnl_primitive_attr_get_fpmath_mode(attributes, &mode);
    if (mode != dnnl_fpmath_mode_strict) ++counts.inexact;
  }
  static auto* const next = Next<decltype(dnnl_primitive_create)>("dnnl_primitive_create");
  return next(primitive, description);
}

dnnl_status_t dnnl_memory_create(dnnl_memory_t* memory, const_dnnl_memory_desc_t description,
                                 dnnl_engine_t engine, void* handle) {
  if (counting) ++counts.created;
  static auto* const next = Next<decltype(dnnl_memory_create)>("dnnl_memory_create");
  return next(memory, description, engine, handle);
}

dnnl_status_t dnnl_primitive_execute(const_dnnl_primitive_t primitive, dnnl_stream_t stream,
                                     int count, const dnnl_exec_arg_t* arguments) {
  if (counting) {
    const_dnnl_primitive_desc_t description = nullptr;
    dnnl_primitive_get_primitive_desc(primitive, &description);
    dnnl_primitive_kind_t kind = dnnl_undefined_primitive;
    dnnl_primitive_desc_query(description, dnnl_query_primitive_kind, 0, &kind);
    if (kind == dnnl_reorder) ++counts.reordered;
  }
  static auto* const next = Next<decltype(dnnl_primitive_execute)>("dnnl_primitive_execute");
  return next(primitive, stream, count, arguments);
}

}  // extern "C"

void* operator new(std::size_t size) {
  Count(size, __builtin_return_address(0));
  if (void* memory = __libc_malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { __libc_free(memory); }
void operator delete(void* memory, std::size_t) noexcept { __libc_free(memory); }

namespace zood::engine {
namespace {

class AllocationTest : public ::testing::TestWithParam<const char*> {};

std::shared_ptr<const graph::Graph> Network(const std::string& name) {
  const models::Zoo zoo = models::Zoo::Standard();
  const models::Architecture* architecture = *zoo.Find(name);
  return std::make_shared<const graph::Graph>(
      *models::BuildGraph(*architecture, architecture->defaults));
}

TEST_P(AllocationTest, AWarmRunMakesNothing) {
  const auto graph = Network(GetParam());
  const TensorMap weights = zood::testing::FillVariables(*graph);
  ASSERT_OK_AND_ASSIGN(const auto executable,
                       Executable::Compile(graph, weights, {.batch_sizes = {1, 3}}));
  ASSERT_OK_AND_ASSIGN(const auto execution, Execution::Create(executable));
  for (int batch : {1, 2, 3}) {
    for (float& value : execution->input(batch)) value = 0.5f;
    ASSERT_TRUE(execution->Run(batch).ok());  // the warm-up
    counts.own = counts.large = counts.created = counts.reordered = 0;
    counting = true;
    const bool ok = execution->Run(batch).ok();
    counting = false;
    EXPECT_TRUE(ok);
    EXPECT_EQ(counts.own, 0) << "allocations from zood's frames, batch " << batch;
    EXPECT_EQ(counts.large, 0) << "allocations over 4 KiB, batch " << batch;
    EXPECT_EQ(counts.created, 0) << "oneDNN objects made, batch " << batch;
    EXPECT_EQ(counts.reordered, 0) << "reorders, batch " << batch;
  }
}

// A step of training does reorder: its weights are new. And oneDNN's matrix product, which fully
// connected layers are computed with, takes working memory of its own.
class TrainingAllocationTest : public ::testing::TestWithParam<const char*> {};

TEST_P(TrainingAllocationTest, AWarmStepMakesNothing) {
  const auto graph = Network(GetParam());
  ASSERT_OK_AND_ASSIGN(
      const auto program,
      TrainingProgram::Create(
          graph, zood::testing::FillVariables(*graph),
          {.batch = 2, .updated = std::vector<bool>(graph->variables().size(), true)}));
  for (int step = 0; step < 2; ++step) {  // the first is the warm-up
    counts.own = counts.created = 0;
    counting = step == 1;
    const bool forward = program->Forward(0).ok(), backward = program->Backward().ok();
    program->UpdateMovingStatistics();
    counting = false;
    EXPECT_TRUE(forward && backward);
    if (step == 0) continue;
    EXPECT_EQ(counts.own, 0) << "allocations from zood's frames";
    EXPECT_EQ(counts.created, 0) << "oneDNN objects made";
  }
}

// What ONEDNN_DEFAULT_FPMATH_MODE would set.
class FpmathTest : public ::testing::TestWithParam<dnnl_fpmath_mode_t> {};

TEST_P(FpmathTest, NoPrimitiveTakesTheProcessesDefault) {
  ASSERT_EQ(dnnl_set_default_fpmath_mode(GetParam()), dnnl_success);
  counts.created = counts.inexact = 0;
  for (const char* name : {"resnet_v1_50", "mobilenet_v2_100", "alexnet_v2", "lenet"}) {
    const auto graph = Network(name);
    const TensorMap weights = zood::testing::FillVariables(*graph);
    counting = true;
    const auto executable = Executable::Compile(graph, weights, {.batch_sizes = {1, 2}});
    const auto program = TrainingProgram::Create(
        graph, weights,
        {.batch = 2, .updated = std::vector<bool>(graph->variables().size(), true)});
    counting = false;
    EXPECT_TRUE(executable.ok() && program.ok());
  }
  EXPECT_EQ(dnnl_set_default_fpmath_mode(dnnl_fpmath_mode_strict), dnnl_success);
  EXPECT_GT(counts.created, 0);
  EXPECT_EQ(counts.inexact, 0);
}

INSTANTIATE_TEST_SUITE_P(Modes, FpmathTest,
                         ::testing::Values(dnnl_fpmath_mode_bf16, dnnl_fpmath_mode_f16,
                                           dnnl_fpmath_mode_tf32, dnnl_fpmath_mode_any));

INSTANTIATE_TEST_SUITE_P(Networks, AllocationTest,
                         ::testing::Values("resnet_v1_50", "resnet_v2_50", "inception_v3",
                                           "mobilenet_v2_100", "cifarnet", "inception_resnet_v2",
                                           "alexnet_v2", "efficientnet_lite0"),
                         [](const auto& network) { return std::string(network.param); });

INSTANTIATE_TEST_SUITE_P(Networks, TrainingAllocationTest,
                         ::testing::Values("resnet_v1_50", "inception_v3", "mobilenet_v2_100",
                                           "cifarnet"),
                         [](const auto& network) { return std::string(network.param); });

// The counters see what they are there to see.
TEST(AllocationCountersTest, SeeAnAllocationAndAPrimitive) {
  counts.own = counts.large = 0;
  counting = true;
  std::unique_ptr<char[]> memory(new char[8192]);
  counting = false;
  asm volatile("" : : "r"(memory.get()) : "memory");
  EXPECT_EQ(counts.own, 1);
  EXPECT_EQ(counts.large, 1);
}

TEST(AllocationCountersTest, SeeWhatTheStandardLibraryAllocatesForUs) {
  const char text[] = "a text that is too long for the small buffer of a string";
  counts.own = 0;
  counting = true;
  const std::string copy(text);  // in libstdc++, which instantiates std::string for all
  std::string longer = copy;
  longer.append(copy);
  counting = false;
  asm volatile("" : : "r"(longer.data()) : "memory");
  EXPECT_GE(counts.own, 2);
}

TEST(AllocationCountersTest, SeeObjectsAndReordersOfOneDnn) {
  const auto graph = Network("cifarnet");
  const TensorMap weights = zood::testing::FillVariables(*graph);
  counts.created = counts.reordered = 0;
  counting = true;
  const auto executable = Executable::Compile(graph, weights, {.batch_sizes = {1}});
  counting = false;
  ASSERT_TRUE(executable.ok()) << executable.status();
  EXPECT_GT(counts.created, 0);
  EXPECT_GT(counts.reordered, 0) << "the weights are brought into oneDNN's layout";
}

}  // namespace
}  // namespace zood::engine
