#include "models/weights/weight_part.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "base/status.h"
#include "base/text.h"

namespace zood::models {
namespace {

constexpr std::size_t kDeepestPrefix = 16;  // components
// More parts than a file can have reasons for. Beyond these, names are skipped.
constexpr std::size_t kMostCandidates = 1000;
constexpr std::string_view kSeparators = "./";

// A prefix after which variables of the network follow.
struct Candidate {
  WeightPart part;
  std::map<std::string, std::string> files;  // of the variables that fit: their names in the file
  std::size_t fits = 0;                      // variables in their shapes
  std::size_t named = 0;                     // variables in whatever shape
  bool is_average = false;

  std::pair<std::size_t, std::size_t> rank() const { return {fits, named}; }
};

// The words of a prefix: "state_dict_ema.module." has state, dict, ema, module.
std::vector<std::string> WordsOf(std::string_view prefix) {
  std::vector<std::string> words(1);
  for (const char c : prefix) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      words.back() += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  return words;
}

bool SaysAverage(std::string_view prefix) {
  return std::ranges::any_of(WordsOf(prefix), [](const std::string& word) {
    return word == "ema" || word == "swa" || word == "shadow" || word.starts_with("averag");
  });
}

// `name` without the components that are `component`.
std::string Without(std::string_view name, std::string_view component) {
  std::string rest;
  while (!name.empty()) {
    const std::size_t end = std::min(name.find_first_of(kSeparators), name.size());
    const std::size_t next = std::min(end + 1, name.size());
    if (end == name.size() || name.substr(0, end) != component) rest += name.substr(0, next);
    name.remove_prefix(next);
  }
  return rest;
}

class PartFinder {
 public:
  PartFinder(const WeightFile& file, const graph::Graph& graph, std::span<const Naming> namings,
             const MapOptions& options)
      : file_(file), namings_(namings), options_(options) {
    for (const graph::Variable& variable : graph.variables()) {
      wanted_.emplace(variable.name, &variable);
    }
  }

  absl::StatusOr<ChosenPart> Choose() {
    for (const checkpoint::VariableInfo& found : file_.variables) Look(found);
    const std::vector<const Candidate*> all = Ranked();
    std::vector<const Candidate*> candidates = all;
    const bool asked = !options_.weights_in.empty();
    if (asked) ZOOD_RETURN_IF_ERROR(KeepRequested(candidates));
    if (candidates.empty()) return ChosenPart{.part = {.naming = &namings_.front()}};
    std::erase_if(candidates,
                  [&](const Candidate* c) { return c->rank() < candidates.front()->rank(); });
    ZOOD_RETURN_IF_ERROR(KeepOne(candidates));
    chosen_.part = candidates.front()->part;
    chosen_.part.inserted = Inserted(*candidates.front());
    if (options_.prefer_moving_averages && !asked) AddAverages(*candidates.front(), all);
    AddCopies(*candidates.front(), all);
    return std::move(chosen_);
  }

 private:
  // Every place where the rest of the name may be the network's.
  void Look(const checkpoint::VariableInfo& found) {
    std::string_view name = found.name;
    std::size_t begin = 0;
    for (std::size_t depth = 0; depth < kDeepestPrefix; ++depth) {
      for (const Naming& naming : namings_) Count(found, name.substr(0, begin), naming);
      const std::size_t separator = name.find_first_of(kSeparators, begin);
      if (separator == std::string_view::npos) break;
      begin = separator + 1;
    }
  }

  void Count(const checkpoint::VariableInfo& found, std::string_view prefix, const Naming& naming) {
    const Placement place = naming.place(std::string_view(found.name).substr(prefix.size()));
    if (place.is_average && !options_.prefer_moving_averages) return;
    const auto at = wanted_.find(place.variable);
    if (at == wanted_.end()) return;
    const auto key = std::pair(std::string(prefix), &naming);
    if (candidates_.size() >= kMostCandidates && !candidates_.contains(key)) return;
    const auto [candidate, is_new] = candidates_.try_emplace(key);
    if (is_new) {
      candidate->second.part = {.prefix = std::string(prefix), .naming = &naming};
      candidate->second.is_average = IsAverage(prefix);
    }
    const Shape& ours = at->second->shape;
    const bool fits = HasAxesOf(place.layout, ours) && ShapeIn(place.layout, ours) == found.shape;
    // An average and its variable are one, of which the variable is compared.
    if (fits && (place.is_average ? candidate->second.files.try_emplace(at->first, found.name)
                                  : candidate->second.files.insert_or_assign(at->first, found.name))
                    .second) {
      ++candidate->second.fits;
    }
    candidate->second.named += place.is_average ? 0 : 1;
  }

  // torch.optim.swa_utils.AveragedModel keeps "n_averaged" beside "module".
  bool IsAverage(std::string_view prefix) const {
    if (SaysAverage(prefix)) return true;
    for (std::size_t end = prefix.size(); end > 0;
         end = prefix.substr(0, end - 1).find_last_of(kSeparators) + 1) {
      const std::string counter = std::string(prefix.substr(0, end)) + "n_averaged";
      if (std::ranges::binary_search(file_.variables, counter, {},
                                     &checkpoint::VariableInfo::name)) {
        return true;
      }
      if (prefix.substr(0, end - 1).find_first_of(kSeparators) == std::string_view::npos) break;
    }
    return false;
  }

  // Those that fit best first; of equal ones, the shortest prefix.
  std::vector<const Candidate*> Ranked() const {
    std::vector<const Candidate*> ranked;
    for (const auto& [key, candidate] : candidates_) ranked.push_back(&candidate);
    std::ranges::stable_sort(ranked, [](const Candidate* a, const Candidate* b) {
      if (a->rank() != b->rank()) return a->rank() > b->rank();
      return a->part.prefix.size() < b->part.prefix.size();
    });
    return ranked;
  }

  absl::Status KeepRequested(std::vector<const Candidate*>& candidates) const {
    std::string_view asked = options_.weights_in;
    if (asked.size() > 1 && kSeparators.find(asked.back()) != std::string_view::npos) {
      asked.remove_suffix(1);
    }
    std::vector<std::string> names;
    for (const Candidate* c : candidates) {
      if (names.size() < 5) names.push_back(c->part.DisplayName());
    }
    std::erase_if(candidates, [&](const Candidate* c) {
      const std::string& prefix = c->part.prefix;
      if (asked == ".") return !prefix.empty();
      return !(prefix.starts_with(asked) && prefix.size() > asked.size() &&
               kSeparators.find(prefix[asked.size()]) != std::string_view::npos);
    });
    if (!candidates.empty()) return absl::OkStatus();
    return InvalidArgument(
        "no variable of the network is in '{}' (--weights-in); those that fit best are in {}",
        Printable(asked),
        names.empty() ? "no part of the file" : fmt::format("{}", fmt::join(names, ", ")));
  }

  // Takes off `equal`, and returns, those that are not wanted, unless none is.
  static std::vector<const Candidate*> Keep(std::vector<const Candidate*>& equal,
                                            const std::function<bool(const Candidate&)>& wanted) {
    const auto others = std::ranges::stable_partition(
        equal, [&](const Candidate* candidate) { return wanted(*candidate); });
    if (others.begin() == equal.begin()) return {};
    std::vector<const Candidate*> dropped(others.begin(), others.end());
    equal.erase(others.begin(), others.end());
    return dropped;
  }

  // One of several that fit equally, which `equal` has afterwards.
  absl::Status KeepOne(std::vector<const Candidate*>& equal) {
    Keep(equal, [](const Candidate& c) { return !IsOfOptimizer(c.part.prefix); });
    const bool prefer = options_.prefer_moving_averages;
    const auto others = Keep(equal, [&](const Candidate& c) { return c.is_average == prefer; });
    ZOOD_RETURN_IF_ERROR(KeepEqualValues(equal));
    if (!others.empty()) {
      chosen_.choices.push_back(fmt::format(
          "{} was taken; {} fits as well. {}", equal.front()->part.DisplayName(), ListOf(others),
          prefer ? "Moving averages are preferred (--no-moving-averages reverses this)"
                 : "Moving averages were not requested"));
    }
    return absl::OkStatus();
  }

  static std::string ListOf(const std::vector<const Candidate*>& candidates) {
    std::vector<std::string> names;
    for (const Candidate* c : candidates) names.push_back(c->part.DisplayName());
    return fmt::format("{}", fmt::join(names, " and "));
  }

  absl::Status KeepEqualValues(std::vector<const Candidate*>& equal) {
    for (std::size_t i = 1; i < equal.size(); ++i) {
      ZOOD_ASSIGN_OR_RETURN(const bool same, SameValues(*equal[0], *equal[i]));
      if (same) continue;
      return InvalidArgument(
          "the file has the network several times, with other values each: {} fit equally well. "
          "Choose one (--weights-in {})",
          ListOf(equal), equal[i]->part.OptionValue());
    }
    if (equal.size() > 1) {
      chosen_.choices.push_back(
          fmt::format("{} have the same values; the first was taken", ListOf(equal)));
      equal.erase(equal.begin() + 1, equal.end());
    }
    return absl::OkStatus();
  }

  absl::StatusOr<bool> SameValues(const Candidate& a, const Candidate& b) const {
    for (const auto& [variable, name] : a.files) {
      const auto other = b.files.find(variable);
      if (other == b.files.end()) return false;
      ZOOD_ASSIGN_OR_RETURN(const Tensor x, file_.read(name));
      ZOOD_ASSIGN_OR_RETURN(const Tensor y, file_.read(other->second));
      if (x.dtype() != y.dtype() || !std::ranges::equal(x.bytes(), y.bytes())) return false;
    }
    return true;
  }

  // Averages of at least half of the variables, where the best part is none.
  void AddAverages(const Candidate& best, const std::vector<const Candidate*>& all) {
    if (best.is_average) return;
    for (const Candidate* candidate : all) {
      const bool fits = candidate->is_average && candidate->part.naming == best.part.naming &&
                        2 * candidate->fits >= wanted_.size() &&
                        !IsOfOptimizer(candidate->part.prefix);
      if (!fits) continue;
      chosen_.averages = candidate->part;
      chosen_.choices.push_back(
          fmt::format("{} variables are the moving averages in {}, the others are of {} "
                      "(--no-moving-averages takes all of them from there)",
                      candidate->fits, candidate->part.DisplayName(), best.part.DisplayName()));
      return;
    }
  }

  // The component without which most of the variables that the best part lacks are there.
  std::string Inserted(const Candidate& best) const {
    std::map<std::string, std::size_t, std::less<>> counts;
    for (const checkpoint::VariableInfo& found : file_.variables) {
      if (best.fits >= wanted_.size() || !found.name.starts_with(best.part.prefix)) continue;
      const std::string_view name = std::string_view(found.name).substr(best.part.prefix.size());
      if (wanted_.contains(best.part.naming->place(name).variable)) continue;
      std::size_t begin = 0;
      for (std::size_t depth = 0; depth < kDeepestPrefix; ++depth) {
        const std::size_t end = name.find_first_of(kSeparators, begin);
        if (end == std::string_view::npos) break;
        const std::string component(name.substr(begin, end - begin));
        const Placement place = best.part.naming->place(Without(name, component));
        const auto at = wanted_.find(place.variable);
        if (at != wanted_.end() && HasAxesOf(place.layout, at->second->shape) &&
            ShapeIn(place.layout, at->second->shape) == found.shape &&
            !best.files.contains(at->first)) {
          ++counts[component];
        }
        begin = end + 1;
      }
    }
    const auto most = std::ranges::max_element(counts, {}, [](const auto& c) { return c.second; });
    return most == counts.end() ? "" : most->first;
  }

  void AddCopies(const Candidate& best, const std::vector<const Candidate*>& all) {
    for (const Candidate* candidate : all) {
      const std::string& prefix = candidate->part.prefix;
      if (candidate != &best && 2 * candidate->fits >= wanted_.size() &&
          prefix.size() > best.part.prefix.size() && prefix.starts_with(best.part.prefix)) {
        chosen_.copies.push_back(prefix);
      }
    }
  }

  const WeightFile& file_;
  const std::span<const Naming> namings_;
  const MapOptions& options_;
  std::map<std::string, const graph::Variable*, std::less<>> wanted_;
  std::map<std::pair<std::string, const Naming*>, Candidate> candidates_;
  ChosenPart chosen_;
};

}  // namespace

Placement WeightPart::Place(std::string_view name) const {
  name.remove_prefix(prefix.size());
  Placement place = naming->place(name);
  if (inserted.empty() || name.find(inserted) == std::string_view::npos) return place;
  Placement without = naming->place(Without(name, inserted));
  return without.variable.empty() ? place : without;
}

std::string WeightPart::OptionValue() const {
  return prefix.empty() ? "." : Printable(std::string_view(prefix).substr(0, prefix.size() - 1));
}

std::string WeightPart::DisplayName() const {
  return prefix.empty() ? "the whole file" : fmt::format("'{}'", OptionValue());
}

absl::StatusOr<ChosenPart> ChoosePart(const WeightFile& file, const graph::Graph& graph,
                                      std::span<const Naming> namings, const MapOptions& options) {
  return PartFinder(file, graph, namings, options).Choose();
}

}  // namespace zood::models
