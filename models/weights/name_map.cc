#include "models/weights/name_map.h"

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "models/weights/naming.h"
#include "models/weights/weight_part.h"

namespace zood::models {
namespace {

bool IsFloatingPoint(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat64 || dtype == DType::kFloat16 ||
         dtype == DType::kBFloat16;
}

// Counters, scales of losses, tables of strings are none.
bool MayBeWeight(const checkpoint::VariableInfo& found) {
  return IsFloatingPoint(found.dtype) && found.shape.num_elements() > 1;
}

// One file against one network.
class Mapper {
 public:
  Mapper(const Architecture& architecture, const graph::Graph& graph, const WeightFile& file,
         const MapOptions& options, ChosenPart chosen)
      : architecture_(architecture),
        file_(file),
        options_(options),
        chosen_(std::move(chosen)),
        account_(architecture.name, graph, file) {
    for (const graph::Variable& variable : graph.variables()) {
      has_head_ = has_head_ || InHead(variable.name);
    }
  }

  absl::StatusOr<MappedWeights> Map() {
    for (const checkpoint::VariableInfo& found : file_.variables) {
      ZOOD_RETURN_IF_ERROR(Sort(found));
    }
    for (const checkpoint::UnreadEntry& entry : file_.unread) SortUnread(entry);
    ZOOD_RETURN_IF_ERROR(PreferAverages());
    // In the file's order.
    std::vector<std::pair<const graph::Variable*, Source>> all(sources_.begin(), sources_.end());
    std::ranges::sort(all, {}, [](const auto& pair) { return pair.second.found; });
    for (const auto& [variable, source] : all) ZOOD_RETURN_IF_ERROR(Take(*variable, source));
    ZOOD_ASSIGN_OR_RETURN(MappedWeights mapped, account_.Finish(Hint()));
    mapped.naming = chosen_.part.naming->name;
    mapped.prefix = chosen_.part.prefix;
    if (const std::string& inserted = chosen_.part.inserted; !inserted.empty()) {
      chosen_.choices.push_back(
          fmt::format("'{}' was left out of the names that have it within", Printable(inserted)));
    }
    mapped.choices = chosen_.choices;
    return mapped;
  }

 private:
  // Where a variable of the network gets its value.
  struct Source {
    const checkpoint::VariableInfo* found = nullptr;
    WeightLayout layout = WeightLayout::kSame;
  };

  bool InHead(std::string_view variable) const {
    return std::ranges::any_of(architecture_.head_scopes, [variable](const std::string& scope) {
      return variable.size() > scope.size() && variable.starts_with(scope) &&
             variable[scope.size()] == '/';
    });
  }

  bool IsLeftAside(std::string_view name) const {
    return options_.leave_aside && options_.leave_aside->Match(name);
  }

  // What the file's variable is for the network.
  absl::Status Sort(const checkpoint::VariableInfo& found) {
    const std::string& name = found.name;
    const std::string& prefix = chosen_.part.prefix;
    // Where one of the two parts lies in the other, the longer prefix is meant.
    const bool averaged =
        chosen_.averages && name.starts_with(chosen_.averages->prefix) &&
        (!name.starts_with(prefix) || chosen_.averages->prefix.size() > prefix.size());
    const bool copied = std::ranges::any_of(
        chosen_.copies, [&name](const std::string& copy) { return name.starts_with(copy); });
    if (averaged) {
      SortAverage(found);
    } else if (copied) {
      account_.Ignore(name, "of another copy of the network");
    } else if (name.starts_with(prefix)) {
      return SortOfPart(found);
    } else {
      account_.Ignore(
          name, fmt::format("outside of {}, where the network is", chosen_.part.DisplayName()));
    }
    return absl::OkStatus();
  }

  void SortAverage(const checkpoint::VariableInfo& found) {
    const Placement place = chosen_.averages->Place(found.name);
    const graph::Variable* variable = account_.Find(place.variable);
    if (variable != nullptr && Fits(*variable, {&found, place.layout})) {
      averages_[variable] = {&found, place.layout};
    } else {
      account_.Ignore(found.name, "no variable of the network, among moving averages");
    }
  }

  absl::Status SortOfPart(const checkpoint::VariableInfo& found) {
    const Placement place = chosen_.part.Place(found.name);
    const graph::Variable* variable = account_.Find(place.variable);
    if (variable == nullptr) {
      SortUnplaced(found, place);
    } else if (place.is_average) {
      if (options_.prefer_moving_averages) {
        averages_[variable] = {&found, place.layout};
      } else {
        account_.Ignore(found.name, place.beside);
      }
    } else if (!sources_.try_emplace(variable, Source{&found, place.layout}).second) {
      return InvalidArgument("two variables of the file are {}, one of them {}", variable->name,
                             Printable(found.name));
    }
    return absl::OkStatus();
  }

  // Not of this network. What looks as if it were of one that has more layers is an error.
  void SortUnplaced(const checkpoint::VariableInfo& found, const Placement& place) {
    const std::string_view rest = std::string_view(found.name).substr(chosen_.part.prefix.size());
    const Naming& naming = *chosen_.part.naming;
    if (!place.beside.empty()) {
      account_.Ignore(found.name, place.beside);
    } else if (!has_head_ && InHead(place.variable)) {
      account_.Ignore(found.name, "the classifier, which this network is built without");
    } else if (const std::string of = StateOf(rest); !of.empty()) {
      account_.Ignore(found.name, fmt::format("state of {}", Printable(of)));
    } else if (IsOfOptimizer(rest)) {
      account_.Ignore(found.name, "of an optimizer");
    } else if (IsLeftAside(found.name)) {
      account_.Ignore(found.name, "to be left aside");
    } else if (!rest.starts_with(naming.scope)) {
      account_.Ignore(found.name, fmt::format("outside of the network's scope '{}'", naming.scope));
    } else if (!MayBeWeight(found)) {
      account_.Ignore(found.name, fmt::format("no weight but {} {}", Name(found.dtype),
                                              found.shape.ToString()));
    } else {
      account_.Unknown(found.name, found.shape);
    }
  }

  // The variable of the network whose name `rest` continues, as optimizers of all kinds call what
  // they keep of it: "LeNet/fc4/biases/Adam_1", "conv1.weight.exp_avg". Empty for none.
  std::string StateOf(std::string_view rest) const {
    for (std::size_t end = rest.find_last_of("./"); end != std::string_view::npos && end > 0;
         end = rest.find_last_of("./", end - 1)) {
      const Placement place = chosen_.part.naming->place(rest.substr(0, end));
      if (account_.Find(place.variable) != nullptr) return std::string(rest.substr(0, end));
    }
    return "";
  }

  void SortUnread(const checkpoint::UnreadEntry& entry) {
    if (entry.name.starts_with(chosen_.part.prefix)) {
      const Placement place = chosen_.part.Place(entry.name);
      if (const graph::Variable* variable = account_.Find(place.variable);
          variable != nullptr && !place.is_average) {
        account_.Unreadable(*variable, entry.name, entry.reason);
        return;
      }
    }
    account_.Ignore(entry.name, entry.reason);
  }

  absl::Status PreferAverages() {
    for (const auto& [variable, average] : averages_) {
      Source& source = sources_[variable];
      if (source.found != nullptr && source.found->shape != average.found->shape) {
        return DataLoss("'{}' is {}, but its moving average is {}", Printable(source.found->name),
                        source.found->shape.ToString(), average.found->shape.ToString());
      }
      if (source.found != nullptr) {
        account_.Ignore(source.found->name, "its moving average was taken");
      }
      source = average;
    }
    return absl::OkStatus();
  }

  static bool Fits(const graph::Variable& variable, const Source& source) {
    return HasAxesOf(source.layout, variable.shape) &&
           source.found->shape == ShapeIn(source.layout, variable.shape);
  }

  absl::Status Take(const graph::Variable& variable, const Source& source) {
    const auto& [found, layout] = source;
    if (!Fits(variable, source)) {
      const bool comparable = HasAxesOf(layout, variable.shape);
      account_.WrongShape(variable, found->name,
                          comparable ? ShapeIn(layout, variable.shape) : variable.shape,
                          found->shape);
      NoteWrongShape(variable, layout, found->shape);
      return absl::OkStatus();
    }
    ZOOD_ASSIGN_OR_RETURN(const Tensor tensor, file_.read(found->name));
    auto value = FromLayout(layout, tensor, variable.shape);
    if (!value.ok()) return Annotate(value.status(), Printable(found->name));
    return account_.Take(variable, found->name, *std::move(value));
  }

  void NoteWrongShape(const graph::Variable& variable, WeightLayout layout, const Shape& found) {
    if (!InHead(variable.name)) {
      only_head_differs_ = false;
    } else if (found.rank() > 0) {
      classes_ = layout == WeightLayout::kSame ? found.back() : found[0];
    }
  }

  // What to do about what does not fit.
  std::string Hint() const {
    if (account_.NothingFits()) return HintOfNames();
    if (only_head_differs_ && classes_ > 0 && account_.OnlyShapesDiffer()) {
      return fmt::format(
          "Its classifier is for {0} classes: build the network with as many (--classes {0})",
          classes_);
    }
    if (account_.HasUnknown()) {
      return "Is it a file of a larger network? What is not the network's can be left aside "
             "(--leave-aside PATTERN)";
    }
    return "";
  }

  // Nothing is as the network calls it. Perhaps the names are another framework's.
  std::string HintOfNames() const {
    std::map<std::string_view, std::size_t> counts;
    for (const auto& found : file_.variables) ++counts[LooksLikeNamesOf(found.name)];
    if (4 * counts["Caffe"] > file_.variables.size()) {
      return fmt::format(
          "{} has no names for the layers of a Caffe file: import it with its .prototxt instead "
          "(--prototxt)",
          architecture_.name);
    }
    if (4 * counts["PyTorch"] > file_.variables.size() && architecture_.pytorch_modules.empty()) {
      return fmt::format("{} has no names for the modules of a PyTorch file", architecture_.name);
    }
    return "";
  }

  const Architecture& architecture_;
  const WeightFile& file_;
  const MapOptions& options_;
  ChosenPart chosen_;
  WeightAccount account_;
  std::map<const graph::Variable*, Source> sources_;
  std::map<const graph::Variable*, Source> averages_;
  bool has_head_ = false;
  bool only_head_differs_ = true;  // of the shapes that differ
  std::int64_t classes_ = 0;       // of the file's classifier, where it differs
};

}  // namespace

absl::StatusOr<MappedWeights> MapWeights(const Architecture& architecture,
                                         const graph::Graph& graph, const WeightFile& file,
                                         const MapOptions& options) {
  const std::vector<Naming> namings = NamingsOf(architecture, graph);
  ZOOD_ASSIGN_OR_RETURN(ChosenPart chosen, ChoosePart(file, graph, namings, options));
  return Mapper(architecture, graph, file, options, std::move(chosen)).Map();
}

absl::StatusOr<MappedWeights> MapWeights(const Architecture& architecture,
                                         const graph::Graph& graph, const TensorMap& file,
                                         const MapOptions& options) {
  return MapWeights(architecture, graph, FileOf(file), options);
}

}  // namespace zood::models
