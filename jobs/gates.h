// Whether a job's result may be published and take the place of another.
//
// Gates that the job asks for decide. Where it asks for none, two rules do, as far as there are
// held-out images: the result is better than guessing, and not worse than its base. Where it
// names no alias either, the result takes the place of the version that answers now unless it is
// worse. A comparison is made on the same images at the same time, and only with a version of the
// same classes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "jobs/job.h"
#include "jobs/job_plan.h"
#include "jobs/job_spec.h"
#include "models/zoo.h"
#include "serving/catalogue.h"
#include "serving/memory_budget.h"

namespace zood::jobs {

// The alias that a result is to get: that of the spec; `stable` where neither an alias nor a gate
// was asked for and the result was measured; otherwise none.
std::string PromotionAlias(const JobSpec& spec, const JobPlan& plan);

// The version that an alias of the model names; 0 for none.
std::int64_t AliasNow(const serving::Catalogue& catalogue, const std::string& model,
                      const std::string& alias);

class Gates {
 public:
  // GateOutcome::gate of the rules that nobody asked for.
  static constexpr int kByDefault = -1;

  // All references outlive the gates. `may_go_on` ends an evaluation when it says false.
  Gates(const JobSpec& spec, const JobPlan& plan, std::shared_ptr<const dataset::Dataset> dataset,
        serving::Catalogue& catalogue, const models::Zoo& zoo, serving::MemoryBudget& budget,
        std::function<bool()> may_go_on)
      : spec_(spec),
        plan_(plan),
        dataset_(std::move(dataset)),
        catalogue_(catalogue),
        zoo_(zoo),
        budget_(budget),
        may_go_on_(std::move(may_go_on)) {}

  // One outcome for each gate of the spec; without gates, those of the rules that were not kept.
  // `history` has the result's evaluation, where it was measured.
  absl::StatusOr<std::vector<GateOutcome>> Judge(const JobHistory& history) const;

  // Why the version that `stable` names goes on to answer, where neither a gate nor an alias was
  // asked for; nothing where the result may take its place.
  absl::StatusOr<std::optional<std::string>> WorseThanCurrent(const JobHistory& history) const;

 private:
  absl::StatusOr<GateOutcome> JudgeOne(int index, const JobHistory& history) const;
  absl::StatusOr<std::vector<GateOutcome>> JudgeByDefault(const JobHistory& history) const;
  absl::StatusOr<std::optional<GateOutcome>> NotWorseThan(const VersionName& other,
                                                          const std::string& what,
                                                          double accuracy) const;
  // Nothing for a version of other classes.
  absl::StatusOr<std::optional<JobEvaluation>> Measure(const std::string& model,
                                                       std::int64_t version) const;
  // "; no held-out image shows 'rose'": what no measurement can see. Empty for nothing.
  std::string Unseen() const;

  const JobSpec& spec_;
  const JobPlan& plan_;
  const std::shared_ptr<const dataset::Dataset> dataset_;
  serving::Catalogue& catalogue_;
  const models::Zoo& zoo_;
  serving::MemoryBudget& budget_;
  const std::function<bool()> may_go_on_;
};

}  // namespace zood::jobs
