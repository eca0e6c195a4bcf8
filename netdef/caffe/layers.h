// One layer of a Caffe network after the other in the layer API. For netdef/caffe/network.cc only.
// layers.cc keeps the blobs and outputs.cc finds what the network answers; the layers are in
// plain_layers.cc and, those that have weights, in weighted_layers.cc.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/net.h"
#include "graph/output.h"
#include "netdef/caffe/net.h"

namespace zood::netdef {

// The features of a flattened blob that came from a map. A blob that never was one, or whose map
// was 1x1, has height and width 1.
struct CaffeSegment {
  std::int64_t channels = 0;
  std::int64_t height = 1;
  std::int64_t width = 1;

  friend bool operator==(const CaffeSegment&, const CaffeSegment&) = default;
};

// Whether Caffe has the features of such a blob in our order.
bool InOurOrder(const std::vector<CaffeSegment>& segments);

// How a variable of the graph comes out of a file.
struct CaffeWeight {
  enum class Kind {
    kConvolution,   // [out, in / group, height, width]
    kInnerProduct,  // [out, in], or transposed [in, out]; features of `segments`
    kVector,        // [n] in the order of `segments`
    kShared,        // [1], for all channels
    kStatistic,     // [n] in the order of `segments`, to be divided by the layer's blob 2
    kOnes,          // ones, as many as the blob has elements
  };
  std::string variable;
  Kind kind = Kind::kVector;
  std::string layer;
  int blob = 0;
  bool transposed = false;
  std::vector<CaffeSegment> segments;
};

// The reader bounds every number of a layer by 2^24.
inline graph::Size2d ToSize(const CaffeSpatial& spatial) {
  return {static_cast<int>(spatial.height), static_cast<int>(spatial.width)};
}

// Builds the layers of one definition on one net.
class CaffeLayers {
 public:
  explicit CaffeLayers(graph::Net& net) : net_(net) {}

  // `beside`: blobs that come with the images and that only training uses.
  void AddInput(const std::string& blob, const std::vector<std::string>& beside);
  // Mistakes are reported to the net, which then takes no more layers. A layer that zood does not
  // have is noted, and its first bottom stands for what it makes.
  void Add(const CaffeLayer& layer);

  // What the network answers: the blob, or the tops of the layer, of the name `chosen`; where that
  // is empty, what no layer reads, or what the loss of the greatest weight is computed of.
  // Unimplemented, with all layers that zood does not have; InvalidArgument, with the names, where
  // there are several outputs, or where the output is not class scores.
  absl::StatusOr<graph::Output> Answer(const std::string& chosen);

  std::vector<CaffeWeight> TakeWeights() { return std::move(weights_); }

 private:
  // A value, and for a flattened one what it was flattened from.
  struct Blob {
    graph::Value value;
    std::vector<CaffeSegment> segments;  // empty for maps
  };
  struct Current {
    const CaffeLayer& layer;
    std::vector<Blob> bottoms;
  };
  // What one layer left in one blob; a later layer may compute in place.
  struct Top {
    std::string blob;
    std::string layer;  // empty for the input
    Blob content;
    bool is_read = false;              // by a layer that counts
    std::optional<float> loss_weight;  // of the greatest loss that is computed of it
    bool is_sigmoid_loss = false;
  };

  std::vector<const Top*> Outputs() const;
  std::vector<const Top*> Chosen(const std::string& name) const;
  absl::StatusOr<graph::Output> ScoresOf(const Top& top);
  std::string ListOf(const std::vector<const Top*>& tops) const;
  std::string Candidates() const;
  absl::Status CheckAllSupported() const;

  // Notes what a layer computes that only training, or the count of an accuracy, needs.
  void AddLoss(const CaffeLayer& layer);
  // Whether the layer only handles what comes beside the images.
  bool IsBeside(const CaffeLayer& layer);

  // What a layer makes of its bottoms, for each top; nothing after a mistake.
  std::optional<std::vector<Blob>> MakeTops(const Current& current);
  // The one blob that most layers make.
  std::optional<Blob> Make(const Current& current);
  std::optional<Blob> Make(const Current& current, const std::monostate&);
  std::optional<Blob> Make(const Current& current, const CaffeConvolution& p);
  std::optional<Blob> Make(const Current& current, const CaffePooling& p);
  std::optional<Blob> Make(const Current& current, const CaffeInnerProduct& p);
  std::optional<Blob> Make(const Current& current, const CaffeLrn& p);
  std::optional<Blob> Make(const Current& current, const CaffeEltwise& p);
  std::optional<Blob> Make(const Current& current, const CaffeConcat& p);
  std::optional<Blob> Make(const Current& current, const CaffeBatchNorm& p);
  std::optional<Blob> Make(const Current& current, const CaffeScale& p);
  std::optional<Blob> Make(const Current& current, const CaffeBias& p);
  std::optional<Blob> Make(const Current& current, const CaffeRelu& p);
  std::optional<Blob> Make(const Current& current, const CaffePRelu& p);
  std::optional<Blob> Make(const Current& current, const CaffeElu& p);
  std::optional<Blob> Make(const Current& current, const CaffeDropout& p);
  std::optional<Blob> Make(const Current& current, const CaffeSoftmax& p);
  std::optional<Blob> Make(const Current& current, const CaffeFlatten& p);
  std::optional<Blob> Make(const Current& current, const CaffePower& p);
  std::optional<Blob> Make(const Current& current, const CaffeReshape& p);
  std::optional<Blob> Make(const Current& current, const CaffeClip& p);
  std::optional<std::vector<Blob>> Slices(const Current& current, const CaffeSlice& p);
  // Slices() makes all tops of a slice, and CaffeImageInput takes layers of data.
  std::optional<Blob> Make(const Current& current, const CaffeSlice&) { return current.bottoms[0]; }
  std::optional<Blob> Make(const Current& current, const CaffeData&) { return current.bottoms[0]; }

  std::optional<Blob> Activate(const Current& current, const graph::ActivationPtr& function);
  std::optional<Blob> AddGammaAndBeta(const Current& current, std::int64_t axis,
                                      std::int64_t num_axes, bool gamma_in_file, bool beta);
  Blob Flatten(const Blob& blob);
  template <typename... Args>
  std::optional<Blob> Unsupported(fmt::format_string<Args...> what, Args&&... args) {
    return NoteUnsupported(fmt::format(what, std::forward<Args>(args)...));
  }
  std::optional<Blob> NoteUnsupported(std::string what);
  // Whether `axis` (negative: from the end) is the one of the channels; a mistake when not.
  bool IsChannels(const Current& current, std::int64_t axis);
  void AddWeight(CaffeWeight weight);

  graph::Net& net_;
  std::vector<Top> tops_;
  std::map<std::string, std::size_t, std::less<>> blobs_;  // the last top of each, by name
  std::set<std::string, std::less<>> beside_;
  std::vector<std::string> unsupported_;  // the first few
  std::size_t num_unsupported_ = 0;
  std::vector<CaffeWeight> weights_;
};

}  // namespace zood::netdef
