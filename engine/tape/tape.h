// What a program does, in order, and the memory it does it in; the same for inference and training.
//
// A tape is written once: values are added, then steps that name the values they touch. Then Plan()
// gives every value a place, and Bind() turns the steps into calls for one block of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <oneapi/dnnl/dnnl.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/tape/lifetime_plan.h"
#include "engine/tape/value.h"
#include "graph/graph.h"

namespace zood::engine {

// What a step is given when it runs.
struct StepContext {
  dnnl::stream& stream;
  std::uint64_t dropout_seed = 0;
};
// Allocates nothing of its own.
using BoundStep = std::function<absl::Status(const StepContext&)>;

struct TapeStep {
  graph::NodeId node = -1;
  std::string operation;       // "Conv", "Conv, data gradient": for profiles and messages
  std::string implementation;  // oneDNN's name of it; "zood" or empty for the engine's own loops
  double gflop = 0;
  std::vector<ValueId> touched;
  // `second` may be written over `first`, element by element, where nothing reads `first` later.
  std::vector<std::pair<ValueId, ValueId>> in_place;
  std::function<BoundStep(const Memory&)> bind;
};

class Tape {
 public:
  // Memory that keeps what is in it from one run of the steps to the next, zeros at first.
  ValueId AddPersistent(ValueType type);
  // Memory that is in use from the first step that touches it to the last.
  ValueId AddTransient(ValueType type);
  // All of a new transient value.
  Place AddPlace(ValueType type);
  const ValueType& TypeOf(ValueId id) const { return values_[Index(id)].type; }

  // A transient value is written before the first step; read after the last one; both, and lies
  // apart from all others meanwhile.
  void KeepBefore(ValueId id) { written_before_.push_back(id); }
  void KeepAfter(ValueId id) { read_after_.push_back(id); }
  void Keep(ValueId id) {
    KeepBefore(id);
    KeepAfter(id);
  }

  void Add(TapeStep step) { steps_.push_back(std::move(step)); }
  std::span<const TapeStep> steps() const { return steps_; }

  // Gives every value its place. Nothing may be added after that.
  void Plan();
  std::size_t bytes() const { return persistent_bytes_ + transient_bytes_; }

  // The values' addresses in `memory`, bytes() long and aligned to kArenaAlignment.
  Memory Locate(std::byte* memory) const;
  // The steps, for that memory. Internal when oneDNN refuses one.
  absl::StatusOr<std::vector<BoundStep>> Bind(const Memory& memory) const;

 private:
  struct Value {
    ValueType type;
    Block block;
    bool persistent = false;
    ValueId shares = -1;  // the value whose memory this one's is, where that is another's
  };

  static std::size_t Index(ValueId id) { return static_cast<std::size_t>(id); }
  Value& Get(ValueId id) { return values_[Index(id)]; }
  ValueId Root(ValueId id) const;
  void ShareInPlace();

  std::vector<Value> values_;
  std::vector<TapeStep> steps_;
  std::vector<ValueId> written_before_, read_after_;
  std::size_t persistent_bytes_ = 0;
  std::size_t transient_bytes_ = 0;
};

}  // namespace zood::engine
