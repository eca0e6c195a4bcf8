// What a training program does, in order, and the memory it does it in.
//
// A tape is written once: buffers are added, then steps that name the buffers they touch. Then
// Plan() gives every buffer a place, and Bind() turns the steps into calls for one block of memory.
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
#include "engine/kernels/kernels.h"
#include "engine/kernels/lifetime_plan.h"
#include "graph/graph.h"

namespace zood::engine {

using BufferId = int;

// Rows of channels in a buffer: `offset` floats from its start, `stride` floats from one row to the
// next. Rows are pixels of a feature map, or vectors.
struct Place {
  BufferId buffer = -1;
  std::size_t offset = 0;
  std::size_t rows = 0;
  std::size_t channels = 0;
  std::size_t stride = 0;

  bool is_dense() const { return stride == channels; }
  std::size_t elements() const { return rows * channels; }
};

// Where buffers lie, once there is memory.
class Memory {
 public:
  explicit Memory(std::vector<float*> addresses) : addresses_(std::move(addresses)) {}
  float* operator[](BufferId id) const { return addresses_[static_cast<std::size_t>(id)]; }
  View operator[](const Place& place) const {
    return {(*this)[place.buffer] + place.offset, place.rows, place.channels, place.stride};
  }

 private:
  std::vector<float*> addresses_;
};

// What a step is given when it runs.
struct StepContext {
  dnnl::stream& stream;
  std::uint64_t dropout_seed = 0;
};
// Allocates nothing of its own.
using BoundTrainingStep = std::function<absl::Status(const StepContext&)>;

struct TapeStep {
  graph::NodeId node = -1;
  std::string operation;       // "Conv", "Conv, data gradient": for profiles and messages
  std::string implementation;  // oneDNN's name, or empty
  double gflop = 0;
  std::vector<BufferId> touched;
  // `second` may be written over `first`, element by element, where nothing reads `first` later.
  std::vector<std::pair<BufferId, BufferId>> in_place;
  std::function<BoundTrainingStep(const Memory&)> bind;
};

class Tape {
 public:
  // Memory that keeps what is in it between steps of training, zeros at first.
  BufferId AddPersistent(std::size_t floats);
  // Memory that is in use from the first step that touches it to the last.
  BufferId AddTransient(std::size_t floats);
  // A transient buffer that holds `rows` x `channels` floats without gaps.
  Place AddPlace(std::size_t rows, std::size_t channels);
  std::size_t SizeOf(BufferId id) const;  // in floats

  // A transient buffer is in use during all steps.
  void Keep(BufferId id) { kept_.push_back(id); }

  void Add(TapeStep step) { steps_.push_back(std::move(step)); }
  std::span<const TapeStep> steps() const { return steps_; }

  // Gives every buffer its place. Nothing may be added after that.
  void Plan();
  std::size_t bytes() const { return persistent_bytes_ + transient_bytes_; }

  // The buffers' addresses in `memory`, bytes() long and aligned.
  Memory Locate(std::byte* memory) const;
  // The steps, for that memory. Internal when oneDNN refuses one.
  absl::StatusOr<std::vector<BoundTrainingStep>> Bind(const Memory& memory) const;

 private:
  struct Buffer {
    Block block;
    bool persistent = false;
    BufferId shares = -1;  // the buffer whose memory this one's is, where that is another's
  };

  Buffer& Get(BufferId id) { return buffers_[static_cast<std::size_t>(id)]; }
  BufferId Root(BufferId id) const;
  void ShareInPlace();

  std::vector<Buffer> buffers_;
  std::vector<TapeStep> steps_;
  std::vector<BufferId> kept_;
  std::size_t persistent_bytes_ = 0;
  std::size_t transient_bytes_ = 0;
};

}  // namespace zood::engine
