// What a Caffe network answers.
#include <fmt/ranges.h>

#include <algorithm>

#include "base/status.h"
#include "base/text.h"
#include "netdef/caffe/layers.h"

namespace zood::netdef {
namespace {

constexpr std::size_t kMostListed = 8;
constexpr char kChoose[] =
    "choose one by its name with the import's `output` (zoo import --output)";

// Whether there is one value for each of the last axis, and no more.
bool IsVector(const Shape& shape) {
  return shape.rank() == 2 || (shape.rank() == 4 && shape[1] == 1 && shape[2] == 1);
}

}  // namespace

// Blobs that no layer reads. Where some of them are what a loss is computed of, training was for
// these, and most of all for that of the greatest weight.
std::vector<const CaffeLayers::Top*> CaffeLayers::Outputs() const {
  std::vector<const Top*> outputs;
  std::optional<float> heaviest;
  for (const Top& top : tops_) {
    const bool is_last = &tops_[blobs_.find(top.blob)->second] == &top;
    if (top.is_read || top.layer.empty() || (!is_last && !top.loss_weight)) continue;
    outputs.push_back(&top);
    if (top.loss_weight) heaviest = std::max(heaviest.value_or(*top.loss_weight), *top.loss_weight);
  }
  if (heaviest) {
    std::erase_if(outputs, [&](const Top* top) { return top->loss_weight != heaviest; });
  }
  // A map that nothing reads cannot be what is meant where there are class scores.
  const auto is_vector = [](const Top* top) { return IsVector(top->content.value.shape()); };
  if (std::ranges::any_of(outputs, is_vector)) std::erase_if(outputs, std::not_fn(is_vector));
  return outputs;
}

std::vector<const CaffeLayers::Top*> CaffeLayers::Chosen(const std::string& name) const {
  std::vector<const Top*> chosen;
  if (const auto blob = blobs_.find(name); blob != blobs_.end()) {
    chosen.push_back(&tops_[blob->second]);
    return chosen;
  }
  for (const Top& top : tops_) {
    if (!top.layer.empty() && top.layer == name) chosen.push_back(&top);
  }
  return chosen;
}

std::string CaffeLayers::ListOf(const std::vector<const Top*>& tops) const {
  std::vector<std::string> texts;
  for (const Top* top : tops) {
    if (texts.size() == kMostListed) {
      texts.push_back(fmt::format("and {} more", tops.size() - kMostListed));
      break;
    }
    texts.push_back(
        fmt::format("'{}' {}", Printable(top->blob), top->content.value.shape().ToString()));
  }
  return fmt::format("{}", fmt::join(texts, ", "));
}

// The blobs that may hold class scores, the last ones first.
std::string CaffeLayers::Candidates() const {
  std::vector<const Top*> tops;
  for (std::size_t i = tops_.size(); i-- > 0;) {
    const Top& top = tops_[i];
    const bool is_last = blobs_.find(top.blob)->second == i;
    if (is_last && !top.layer.empty() && IsVector(top.content.value.shape())) tops.push_back(&top);
  }
  return tops.empty() ? "none has one value for each class" : "there are " + ListOf(tops);
}

absl::Status CaffeLayers::CheckAllSupported() const {
  if (num_unsupported_ == 0) return absl::OkStatus();
  const std::size_t more = num_unsupported_ - unsupported_.size();
  return Unimplemented("not supported: {}{}", fmt::join(unsupported_, "; "),
                       more > 0 ? fmt::format("; and {} more", more) : "");
}

absl::StatusOr<graph::Output> CaffeLayers::ScoresOf(const Top& top) {
  const auto annotate = [&](const absl::Status& status) {
    return Annotate(status, fmt::format("the output '{}'", Printable(top.blob)));
  };
  if (!InOurOrder(top.content.segments)) {
    return annotate(
        Unimplemented("a flattened map, not one value for each class; {}", Candidates()));
  }
  absl::StatusOr<graph::Output> scores = graph::ClassScores(net_, top.content.value);
  if (!scores.ok()) {
    return annotate(InvalidArgument("{}; {}, {}", std::string(scores.status().message()), kChoose,
                                    Candidates()));
  }
  if (top.is_sigmoid_loss && scores->kind == graph::OutputKind::kLogits) {
    scores->kind = graph::OutputKind::kIndependentLogits;
  }
  return scores;
}

absl::StatusOr<graph::Output> CaffeLayers::Answer(const std::string& chosen) {
  ZOOD_RETURN_IF_ERROR(CheckAllSupported());
  ZOOD_RETURN_IF_ERROR(net_.status());
  std::vector<const Top*> outputs = chosen.empty() ? Outputs() : Chosen(chosen);
  if (outputs.empty()) {
    if (tops_.size() <= 1) return InvalidArgument("the network has no layers");
    return InvalidArgument("the network has no output{}; {}, {}",
                           chosen.empty() ? "" : fmt::format(" '{}'", Printable(chosen)), kChoose,
                           Candidates());
  }
  // A Split, or a layer that changes nothing, makes several blobs of one value.
  const auto same = [&](const Top* top) {
    return top->content.value.id() == outputs.front()->content.value.id();
  };
  if (!std::ranges::all_of(outputs, same)) {
    return InvalidArgument("the network has {} outputs, {}: {}", outputs.size(), ListOf(outputs),
                           kChoose);
  }
  return ScoresOf(*outputs.front());
}

}  // namespace zood::netdef
