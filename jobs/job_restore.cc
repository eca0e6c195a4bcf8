#include "jobs/job_restore.h"

#include <utility>

#include "base/status.h"
#include "jobs/job_checks.h"
#include "train/restore.h"

namespace zood::jobs {
namespace {

// A version's weights under the name by which reports call it; `name` is what it was found to be.
absl::StatusOr<train::CheckpointSource> LoadSource(const RestoreSource& source,
                                                   const VersionName* pinned,
                                                   serving::Catalogue& catalogue,
                                                   VersionName& name) {
  ZOOD_ASSIGN_OR_RETURN(const serving::ModelRef ref, std::get<VersionChoice>(source.from).ToRef());
  name = {.model = ref.model};
  if (pinned != nullptr) {
    name = *pinned;
  } else {
    ZOOD_ASSIGN_OR_RETURN(const serving::Resolved resolved, catalogue.Resolve(ref));
    name.version = resolved.version;
  }
  const std::string selector = std::to_string(name.version);
  ZOOD_ASSIGN_OR_RETURN(store::LoadedVersion loaded, catalogue.store().Load(name.model, selector));
  ZOOD_RETURN_IF_ERROR(CheckPinned(name, loaded.manifest.digest));
  name.digest = loaded.manifest.digest;
  return train::CheckpointSource{.label = name.model + "@" + selector,
                                 .tensors = std::move(loaded.weights),
                                 .include = source.include,
                                 .exclude = source.exclude,
                                 .names = source.names,
                                 .renamings = source.renames,
                                 .allow_missing = source.missing_allowed,
                                 .allow_reshape = source.reshape_allowed};
}

}  // namespace

absl::StatusOr<FirstValues> Restore(const JobPlan& plan, const JobSpec& spec,
                                    const std::vector<VersionName>& pinned,
                                    serving::Catalogue& catalogue) {
  std::vector<RestoreSource> sources;
  if (spec.restore) {
    sources = spec.restore->sources;
  } else if (plan.base) {
    sources.push_back(RestoreSource{
        .from = VersionChoice{.name = plan.base->model, .version = plan.base->version},
        .exclude = plan.new_head ? WholeNames(plan.head) : std::vector<std::string>()});
  }
  train::RestorePlan restore{.seed = spec.seed};
  FirstValues values;
  for (const RestoreSource& from : sources) {
    if (const auto* given = std::get_if<GivenValues>(&from.from)) {
      restore.sources.push_back(
          train::ValueSource{.label = "values of the job", .values = given->tensors});
      continue;
    }
    const std::size_t index = values.sources.size();
    const VersionName* known = spec.restore && index < pinned.size() ? &pinned[index] : nullptr;
    VersionName name;
    ZOOD_ASSIGN_OR_RETURN(auto source, LoadSource(from, known, catalogue, name));
    restore.sources.push_back(std::move(source));
    values.sources.push_back(std::move(name));
  }
  if (!spec.restore) values.sources.clear();  // that is the base, which is kept by itself
  ZOOD_ASSIGN_OR_RETURN(train::Restored restored, train::Restore(*plan.graph, restore));
  values.weights = std::move(restored.weights);
  for (const train::RestoredVariable& variable : restored.report) {
    const bool initialized = variable.origin == train::RestoredVariable::Origin::kInitializer;
    values.report.push_back(
        {.variable = variable.variable,
         .shape = values.weights.at(variable.variable).shape(),
         .source = initialized ? "initialized by " + variable.source : variable.source,
         .tensor = variable.name == variable.variable ? "" : variable.name});
  }
  return values;
}

}  // namespace zood::jobs
