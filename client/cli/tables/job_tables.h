// Training jobs as text for people.
#pragma once

#include <cstdint>
#include <string>

#include "client/client.h"

namespace zood::client::cli {

std::string DescribeJobs(const v1::ListJobsResponse& answer);
std::string DescribeJob(const v1::Job& job);
std::string DescribeCheckpoints(const v1::ListCheckpointsResponse& answer);

// One line each, without a line break.
std::string DescribeProgress(
    const v1::JobProgress& progress);  // "loss 0.412  accuracy 87.50 % ..."
std::string DescribeEvaluation(const v1::JobEvaluation& result);  // "step 120: top-1 91.20 %, ..."
std::string DescribeGate(const v1::GateOutcome& gate);
std::string DescribeMove(const v1::AliasMove& move);
std::string DescribeEvent(const v1::JobEvent& event);

// "1:02:03", "4:05".
std::string FormatClock(std::int64_t seconds);

}  // namespace zood::client::cli
