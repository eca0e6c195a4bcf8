#include "jobs/gates.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/ranges.h>

#include "base/status.h"
#include "engine/executable.h"
#include "serving/version_loader.h"
#include "store/names.h"

namespace zood::jobs {
namespace {

constexpr std::size_t kNamedClasses = 10;

// The share of the held-out images that the most frequent class has.
double MajorityShare(const store::DatasetManifest& dataset, dataset::Split split) {
  std::int64_t all = 0;
  std::int64_t most = 0;
  for (const store::SplitCounts& counts : dataset.class_items) {
    const std::int64_t count = counts[static_cast<std::size_t>(split)];
    all += count;
    most = std::max(most, count);
  }
  return static_cast<double>(most) / static_cast<double>(std::max<std::int64_t>(all, 1));
}

}  // namespace

std::string PromotionAlias(const JobSpec& spec, const JobPlan& plan) {
  if (!spec.promotion.alias.empty()) return spec.promotion.alias;
  const bool measured = plan.evaluate_on.has_value();
  return spec.promotion.gates.empty() && measured ? std::string(store::kStable) : "";
}

std::int64_t AliasNow(const serving::Catalogue& catalogue, const std::string& model,
                      const std::string& alias) {
  const auto entry = catalogue.Find(model);
  if (!entry.ok()) return 0;
  const auto found = entry->aliases.find(alias);
  return found == entry->aliases.end() ? 0 : found->second;
}

std::string Gates::Unseen() const {
  std::vector<std::string> names;
  std::size_t count = 0;
  for (std::size_t i = 0; i < plan_.dataset.class_items.size(); ++i) {
    if (plan_.dataset.class_items[i][static_cast<std::size_t>(*plan_.evaluate_on)] > 0) continue;
    if (++count <= kNamedClasses) names.push_back("'" + plan_.labels[i] + "'");
  }
  if (names.empty()) return "";
  if (count > names.size()) names.push_back(fmt::format("{} others", count - names.size()));
  return fmt::format("; no held-out image shows {}: how well {} known is not measured",
                     fmt::join(names, ", "), count == 1 ? "it is" : "they are");
}

absl::StatusOr<std::vector<GateOutcome>> Gates::Judge(const JobHistory& history) const {
  if (!history.evaluation) return std::vector<GateOutcome>();
  if (spec_.promotion.gates.empty()) return JudgeByDefault(history);
  std::vector<GateOutcome> outcomes;
  for (int i = 0; i < static_cast<int>(spec_.promotion.gates.size()); ++i) {
    ZOOD_ASSIGN_OR_RETURN(outcomes.emplace_back(), JudgeOne(i, history));
  }
  return outcomes;
}

absl::StatusOr<GateOutcome> Gates::JudgeOne(int index, const JobHistory& history) const {
  const Gate& gate = spec_.promotion.gates[static_cast<std::size_t>(index)];
  const double accuracy = history.evaluation->top1;
  double wanted = 0;
  std::string what;
  if (const auto* minimum = std::get_if<MinimumAccuracy>(&gate)) {
    wanted = minimum->accuracy;
    what = fmt::format("the minimum of {:.4f}", wanted);
  } else {
    const auto& better = std::get<BetterThanAlias>(gate);
    const std::string& alias = better.alias.empty() ? spec_.promotion.alias : better.alias;
    const std::int64_t version = AliasNow(catalogue_, spec_.model, alias);
    if (version == 0) return GateOutcome{index, true, fmt::format("'{}' names nothing yet", alias)};
    if (history.result && version == history.result->version) {
      // It was let through, or it would not have been published. What was said then stands.
      const auto earlier = std::ranges::find(history.gates, index, &GateOutcome::gate);
      if (earlier != history.gates.end()) return *earlier;
      return GateOutcome{index, true, fmt::format("'{}' names the result itself", alias)};
    }
    absl::StatusOr<std::optional<JobEvaluation>> other = Measure(spec_.model, version);
    if (other.ok() && !*other) other = FailedPrecondition("it has other classes");
    if (absl::IsCancelled(other.status())) return GateOutcome{index, false, "interrupted"};
    if (!other.ok()) {
      return GateOutcome{index, false,
                         fmt::format("'{}', version {}, cannot be compared with: {}", alias,
                                     version, std::string(other.status().message()))};
    }
    wanted = (*other)->top1 + better.margin;
    what = fmt::format("{:.4f}: '{}', version {}, has {:.4f}, and the margin is {}", wanted, alias,
                       version, (*other)->top1, better.margin);
  }
  const bool passed = accuracy >= wanted;
  return GateOutcome{index, passed,
                     fmt::format("accuracy {:.4f} is {} {}{}", accuracy,
                                 passed ? "not below" : "below", what, Unseen())};
}

// Half of the classes may be guessed right by chance; a loss above that of equal shares says that
// the network is surer than it knows.
absl::StatusOr<std::vector<GateOutcome>> Gates::JudgeByDefault(const JobHistory& history) const {
  const JobEvaluation& result = *history.evaluation;
  const double guessed = MajorityShare(plan_.dataset, *plan_.evaluate_on);
  const double guess_loss = std::log(static_cast<double>(plan_.labels.size()));
  if (result.top1 < guessed || (result.top1 <= guessed && result.loss > guess_loss)) {
    return std::vector<GateOutcome>{
        {kByDefault, false,
         fmt::format("accuracy {:.4f} (loss {:.4g}) is no better than always answering the most "
                     "frequent class, which is right for {:.4f} of the held-out images{}",
                     result.top1, result.loss, guessed, Unseen())}};
  }
  if (!history.base) return std::vector<GateOutcome>();
  ZOOD_ASSIGN_OR_RETURN(auto worse, NotWorseThan(*history.base, "its base", result.top1));
  if (!worse) return std::vector<GateOutcome>();
  return std::vector<GateOutcome>{*std::move(worse)};
}

absl::StatusOr<std::optional<std::string>> Gates::WorseThanCurrent(
    const JobHistory& history) const {
  if (!history.evaluation || !spec_.promotion.gates.empty() || !spec_.promotion.alias.empty()) {
    return std::nullopt;
  }
  const std::int64_t now = AliasNow(catalogue_, spec_.model, std::string(store::kStable));
  const bool is_base =
      history.base && history.base->model == spec_.model && history.base->version == now;
  const bool is_result = history.result && history.result->version == now;
  if (now == 0 || is_base || is_result) return std::nullopt;
  ZOOD_ASSIGN_OR_RETURN(auto worse, NotWorseThan({spec_.model, now, ""}, "what answers now",
                                                 history.evaluation->top1));
  if (!worse) return std::nullopt;
  return std::move(worse->reason);
}

absl::StatusOr<std::optional<GateOutcome>> Gates::NotWorseThan(const VersionName& other,
                                                               const std::string& what,
                                                               double accuracy) const {
  const auto measured = Measure(other.model, other.version);
  if (absl::IsNotFound(measured.status())) return std::nullopt;  // deleted since
  if (!measured.ok()) {
    return GateOutcome{kByDefault, false,
                       fmt::format("{}, {}@{}, cannot be compared with: {}", what, other.model,
                                   other.version, std::string(measured.status().message()))};
  }
  if (!*measured || accuracy >= (*measured)->top1) return std::nullopt;
  return GateOutcome{
      kByDefault, false,
      fmt::format("accuracy {:.4f} is below that of {}, {}@{}: {:.4f} on the same images{}",
                  accuracy, what, other.model, other.version, (*measured)->top1, Unseen())};
}

absl::StatusOr<std::optional<JobEvaluation>> Gates::Measure(const std::string& model,
                                                            std::int64_t version) const {
  ZOOD_ASSIGN_OR_RETURN(const store::VersionManifest manifest,
                        catalogue_.store().GetVersion(model, std::to_string(version)));
  if (manifest.labels != plan_.labels) return std::nullopt;
  ZOOD_ASSIGN_OR_RETURN(const store::LoadedVersion loaded,
                        catalogue_.store().Load(model, std::to_string(version)));
  ZOOD_ASSIGN_OR_RETURN(const serving::ServableParts parts, serving::PartsOf(loaded, zoo_));
  const int batch_size = spec_.training.batch_size;
  const auto [weight_bytes, execution_bytes] =
      engine::EstimateMemory(*parts.graph, {.batch_sizes = {batch_size}});
  ZOOD_ASSIGN_OR_RETURN(
      const serving::MemoryClaim claim,
      budget_.Claim(weight_bytes + execution_bytes, "the evaluation of a version"));
  train::EvaluationOptions options{.batch_size = batch_size, .threads = spec_.resources.threads};
  options.progress = [this](std::int64_t, std::int64_t) { return may_go_on_(); };
  ZOOD_ASSIGN_OR_RETURN(const train::Evaluation evaluation,
                        train::Evaluate(parts.graph, parts.weights, dataset_, *plan_.evaluate_on,
                                        parts.preprocess, options));
  return JobEvaluation{.split = *plan_.evaluate_on,
                       .images = evaluation.items,
                       .top1 = evaluation.top1,
                       .top5 = evaluation.top5,
                       .loss = evaluation.loss};
}

}  // namespace zood::jobs
