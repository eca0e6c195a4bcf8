// A network, of the zoo or from a file: its graph, and everything else that is known of it.
//
// Built once from a NetworkSpec (formats.h); another number of classes is another definition, built
// one. Immutable and thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "checkpoint/reader.h"
#include "graph/graph.h"
#include "graph/output.h"
#include "image/preprocess.h"
#include "models/weights/mapped_weights.h"
#include "netdef/network_spec.h"

namespace zood::netdef {

// The preprocessing that goes with a network, and where it comes from: sentences for people.
struct NetworkPreprocessing {
  image::PreprocessSpec spec;
  std::vector<std::string> found;    // what the description says and was used
  std::vector<std::string> unused;   // what it says and was not, with the reason
  std::vector<std::string> assumed;  // what nothing says
};

class NetworkDefinition {
 public:
  virtual ~NetworkDefinition() = default;
  NetworkDefinition(const NetworkDefinition&) = delete;
  NetworkDefinition& operator=(const NetworkDefinition&) = delete;

  // With it the same network is built again.
  const NetworkSpec& spec() const { return spec_; }

  const std::shared_ptr<const graph::Graph>& graph() const { return graph_; }
  // What the numbers are that graph()->logits() makes.
  graph::OutputKind output_kind() const { return output_kind_; }
  int num_classes() const { return static_cast<int>(graph_->node(graph_->logits()).shape.back()); }

  // The graph's variables, float32 and in their shapes, from a weight file, by the names that are
  // in it; everything in the file is accounted for. InvalidArgument, naming up to five variables
  // with what was expected and what was found, where they do not fit. Errors of reading are
  // returned as they are.
  virtual absl::StatusOr<models::MappedWeights> MapWeights(
      const models::WeightFile& file, const models::MapOptions& options) const = 0;

  // Evaluation preprocessing, to be used where the import gives no other. `mean`, an image
  // [channels, height, width] to be subtracted, comes from a file beside the network's; null for
  // none. InvalidArgument for a mean that does not fit, or for a network that takes none.
  virtual absl::StatusOr<NetworkPreprocessing> Preprocessing(const Tensor* mean) const = 0;

  // As many as classes, or none where they are not known.
  virtual std::vector<std::string> Labels() const { return {}; }

  // The variables of the classifier, which change with the number of classes: by default
  // ClassifierVariables().
  virtual std::vector<std::string> HeadVariables() const;

 protected:
  NetworkDefinition(NetworkSpec spec, std::shared_ptr<const graph::Graph> graph,
                    graph::OutputKind output_kind)
      : spec_(std::move(spec)), graph_(std::move(graph)), output_kind_(output_kind) {}

 private:
  const NetworkSpec spec_;
  const std::shared_ptr<const graph::Graph> graph_;
  const graph::OutputKind output_kind_;
};
using NetworkPtr = std::shared_ptr<const NetworkDefinition>;

// The variables of the convolution or fully connected layer that makes the logits, and of what
// follows it.
std::vector<std::string> ClassifierVariables(const graph::Graph& graph);

}  // namespace zood::netdef
