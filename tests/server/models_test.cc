#include "tests/server/server_fixture.h"

namespace zood::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using ModelsTest = ServerTest;

TEST_F(ModelsTest, ListsArchitecturesWithTheirDefaults) {
  ASSERT_NO_FATAL_FAILURE(Start());
  grpc::ClientContext context;
  v1::ListArchitecturesResponse response;
  ASSERT_TRUE(models_->ListArchitectures(&context, {}, &response).ok());
  EXPECT_EQ(static_cast<std::size_t>(response.architectures_size()), zoo_.List().size());
  for (const v1::Architecture& architecture : response.architectures()) {
    EXPECT_GT(architecture.defaults().height(), 0) << architecture.name();
    EXPECT_FALSE(architecture.description().empty()) << architecture.name();
    EXPECT_GT(architecture.preprocessing().steps_size(), 0) << architecture.name();
  }
}

TEST_F(ModelsTest, VersionsAliasesLoadingAndDeletion) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  v1::ImportSpec spec = LeNetSpec();
  spec.add_aliases("canary");
  spec.mutable_label_list();
  for (int i = 0; i < 10; ++i) spec.mutable_label_list()->add_labels("digit " + std::to_string(i));
  ASSERT_TRUE(Import(spec, {ckpt_ + "/lenet12_v2.ckpt"}).status.ok());

  v1::ListModelsResponse list;
  grpc::ClientContext list_context;
  ASSERT_TRUE(models_->ListModels(&list_context, {}, &list).ok());
  ASSERT_EQ(list.models_size(), 1);
  EXPECT_EQ(list.models(0).num_versions(), 2);
  EXPECT_EQ(list.models(0).aliases().at("stable"), 1);
  EXPECT_EQ(list.models(0).aliases().at("canary"), 2);
  EXPECT_EQ(list.models(0).aliases().at("latest"), 2);
  EXPECT_THAT(list.models(0).loaded(), IsEmpty());

  v1::ListVersionsRequest versions_request;
  versions_request.set_model("digits");
  v1::ListVersionsResponse versions;
  grpc::ClientContext versions_context;
  ASSERT_TRUE(models_->ListVersions(&versions_context, versions_request, &versions).ok());
  ASSERT_EQ(versions.versions_size(), 2);
  EXPECT_EQ(versions.versions(0).version(), 2) << "newest first";
  EXPECT_EQ(versions.versions(0).num_tensors(), 8);

  v1::GetVersionRequest get;
  get.mutable_model()->set_name("digits");
  get.mutable_model()->set_alias("canary");
  v1::Version version;
  grpc::ClientContext get_context;
  ASSERT_TRUE(models_->GetVersion(&get_context, get, &version).ok());
  EXPECT_EQ(version.version(), 2);
  EXPECT_EQ(version.zoo().architecture(), "lenet");
  EXPECT_EQ(version.zoo().num_classes(), 10);
  EXPECT_EQ(version.height(), 12);
  EXPECT_EQ(version.channels(), 1);
  EXPECT_EQ(version.labels(3), "digit 3");
  EXPECT_EQ(version.status().state(), v1::UNLOADED);
  EXPECT_GT(version.end_points_size(), 0);
  EXPECT_EQ(version.sources_size(), 2);
  EXPECT_EQ(version.build(), Build());

  v1::LoadModelRequest load;
  load.mutable_model()->set_name("digits");
  v1::LoadModelResponse loaded;
  grpc::ClientContext load_context;
  ASSERT_TRUE(models_->LoadModel(&load_context, load, &loaded).ok());
  EXPECT_EQ(loaded.status().version(), 1);
  EXPECT_EQ(loaded.status().state(), v1::AVAILABLE);
  EXPECT_GT(loaded.status().memory_bytes(), 0);

  v1::SetAliasRequest set;
  set.set_model("digits");
  set.set_alias("stable");
  set.set_version(2);
  set.set_expected_version(1);
  v1::SetAliasResponse previous;
  grpc::ClientContext set_context;
  ASSERT_TRUE(models_->SetAlias(&set_context, set, &previous).ok());
  EXPECT_EQ(previous.previous_version(), 1);
  v1::ClassifyResponse answer;
  ASSERT_TRUE(Classify(Request("digits", 0), &answer).ok());
  EXPECT_EQ(answer.model().version(), 2);
  EXPECT_THAT(answer.results(0).classes(0).label(), HasSubstr("digit "));
  grpc::ClientContext again_context;
  EXPECT_EQ(models_->SetAlias(&again_context, set, &previous).error_code(),
            grpc::StatusCode::ABORTED);

  v1::UnloadModelRequest unload;
  unload.mutable_model()->set_name("digits");
  v1::UnloadModelResponse unloaded;
  grpc::ClientContext unload_context;
  ASSERT_TRUE(models_->UnloadModel(&unload_context, unload, &unloaded).ok());
  EXPECT_THAT(unloaded.versions(), ElementsAre(1, 2));
  EXPECT_EQ(server_->runtime().budget().used(), 0u);

  v1::DeleteVersionRequest remove;
  remove.set_model("digits");
  remove.set_version(2);
  v1::DeleteVersionResponse removed;
  grpc::ClientContext refused_context;
  EXPECT_EQ(models_->DeleteVersion(&refused_context, remove, &removed).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  remove.set_force(true);
  grpc::ClientContext remove_context;
  EXPECT_TRUE(models_->DeleteVersion(&remove_context, remove, &removed).ok());

  ASSERT_TRUE(Classify(Request("digits", 0), &answer).ok());
  EXPECT_EQ(answer.model().version(), 1) << "latest stands in for the deleted stable";
  v1::DeleteModelRequest remove_model;
  remove_model.set_name("digits");
  v1::DeleteModelResponse model_removed;
  grpc::ClientContext model_context;
  EXPECT_TRUE(models_->DeleteModel(&model_context, remove_model, &model_removed).ok());
  EXPECT_EQ(Classify(Request("digits", 0)).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(server_->runtime().budget().used(), 0u);
}

TEST_F(ModelsTest, BadImportsSayWhatIsWrongAndChangeNothing) {
  std::filesystem::create_symlink("/etc/hostname", directory_ + "/link.ckpt");
  const std::string whole = ReadFile(ckpt_ + "/lenet12_v1.ckpt");
  std::ofstream(directory_ + "/half.ckpt") << whole.substr(0, whole.size() / 2);
  std::ofstream(directory_ + "/page.ckpt") << "<html>404</html>";
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  ASSERT_TRUE(Classify(Request("digits", 0)).ok());
  using enum grpc::StatusCode;
  struct Case {
    const char* name;
    std::string path;
    std::function<void(v1::ImportSpec&)> spoil;
    std::vector<grpc::StatusCode> codes;
    std::vector<std::string> words;
  };
  const auto nothing = [](v1::ImportSpec&) {};
  const std::vector<Case> cases = {
      {"truncated", "half.ckpt", nothing, {DATA_LOSS, INVALID_ARGUMENT}, {"half.ckpt"}},
      {"mislabeled", "page.ckpt", nothing, {INVALID_ARGUMENT}, {"page.ckpt"}},
      {"other network's",
       "mobilenet_v1_025_v1.ckpt",
       nothing,
       {INVALID_ARGUMENT},
       {"mobilenet_v1_025_v1.ckpt", "LeNet/conv1/weights"}},
      {"wrong shape",
       "lenet12_v1.ckpt",
       [](auto& s) {
         s.mutable_zoo()->set_height(16);
         s.mutable_zoo()->set_width(16);
       },
       {INVALID_ARGUMENT},
       {"LeNet/fc3/weights", "[576,1024]", "[1024,1024]"}},
      {"no such file", "none.ckpt", nothing, {NOT_FOUND}, {"none.ckpt"}},
      {"outside", "/etc/hostname", nothing, {PERMISSION_DENIED}, {"/etc/hostname"}},
      {"dots",
       ckpt_ + "/../../../../../../../../../etc/hostname",
       nothing,
       {PERMISSION_DENIED},
       {"etc/hostname"}},
      {"link", "link.ckpt", nothing, {PERMISSION_DENIED}, {"link.ckpt"}},
      {"unknown architecture",
       "lenet12_v1.ckpt",
       [](auto& s) { s.mutable_zoo()->set_architecture("resnet_v1_51"); },
       {NOT_FOUND},
       {"resnet_v1_51"}},
      {"no network",
       "lenet12_v1.ckpt",
       [](auto& s) { s.clear_zoo(); },
       {INVALID_ARGUMENT},
       {"no network"}},
      {"preprocessing",
       "lenet12_v1.ckpt",
       [](auto& s) { s.mutable_preprocessing()->add_steps()->mutable_resize()->set_height(3); },
       {INVALID_ARGUMENT},
       {"preprocessing"}},
  };
  for (const Case& c : cases) {
    v1::ImportSpec spec = LeNetSpec();
    c.spoil(spec);
    const Imported imported = Import(spec, {c.path});
    EXPECT_THAT(c.codes, ::testing::Contains(imported.status.error_code()))
        << c.name << ": " << imported.status.error_message();
    for (const std::string& words : c.words) {
      EXPECT_THAT(imported.status.error_message(), HasSubstr(words)) << c.name;
    }
  }
  // The store and the running model are untouched.
  EXPECT_THAT(server_->runtime().catalogue().Find("digits")->versions, ElementsAre(1));
  EXPECT_TRUE(server_->runtime().catalogue().store().Fsck()->clean());
  EXPECT_TRUE(Classify(Request("digits", 0)).ok());
}

TEST_F(ModelsTest, BadUploadsSayWhatIsWrongAndLeaveNothing) {
  options_.max_upload_bytes = 8 << 20;
  ASSERT_NO_FATAL_FAILURE(Start());
  const std::string whole = ReadFile(ckpt_ + "/lenet12_v1.ckpt");
  const auto expect = [&](const Imported& imported, grpc::StatusCode code, const char* words) {
    EXPECT_EQ(imported.status.error_code(), code) << imported.status.error_message();
    EXPECT_THAT(imported.status.error_message(), HasSubstr(words));
    EXPECT_THAT(imported.status.error_message(), ::testing::Not(HasSubstr(directory_)))
        << "the daemon's own paths are nobody's business";
  };
  expect(Upload(LeNetSpec(), {}), grpc::INVALID_ARGUMENT, "no file");
  expect(Upload(LeNetSpec(), {{"../evil.ckpt", "x"}}), grpc::INVALID_ARGUMENT, "../evil.ckpt");
  expect(Upload(LeNetSpec(), {{"a.ckpt", whole}, {"a.ckpt", whole}}), grpc::INVALID_ARGUMENT,
         "twice");
  expect(Upload(LeNetSpec(), {{"half.ckpt", whole.substr(0, whole.size() / 3)}}),
         grpc::INVALID_ARGUMENT, "half.ckpt");
  expect(Upload(LeNetSpec(), {{"big.ckpt", std::string(9 << 20, 'x')}}), grpc::RESOURCE_EXHAUSTED,
         "max-upload-bytes");
  v1::ImportSpec nameless = LeNetSpec("");
  expect(Upload(nameless, {{"a.ckpt", whole}}), grpc::INVALID_ARGUMENT, "");
  {
    grpc::ClientContext context;
    const auto stream = models_->UploadModel(&context);
    v1::UploadModelRequest message;
    *message.mutable_spec() = LeNetSpec();
    stream->Write(message);
    message.mutable_file()->set_name("short.ckpt");
    message.mutable_file()->set_size(100);
    stream->Write(message);
    message.set_chunk("ten bytes!");
    stream->Write(message);
    message.mutable_end()->set_files(1);
    message.mutable_end()->set_bytes(10);
    stream->Write(message);
    stream->WritesDone();
    expect(Finish(*stream), grpc::INVALID_ARGUMENT, "100 bytes were announced, 10 came");
  }
  EXPECT_TRUE(std::filesystem::is_empty(server_->runtime().uploads_dir()));
  const auto listed = server_->runtime().catalogue().List();
  ASSERT_TRUE(listed.ok()) << listed.status();
  EXPECT_THAT(*listed, IsEmpty());
  EXPECT_TRUE(Upload(LeNetSpec(), {{"a.ckpt", whole}}).status.ok());
}

TEST_F(ModelsTest, ASecondImportSaysWhichVersionAnswers) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const Imported first = Import(LeNetSpec(), {ckpt_ + "/lenet12_v1.ckpt"});
  ASSERT_TRUE(first.status.ok()) << first.status.error_message();
  EXPECT_EQ(first.version.import_report().answering_version(), 1);
  EXPECT_EQ(first.version.import_report().variables(), 8);
  EXPECT_EQ(first.version.import_report().format(), "tensorflow_v1");
  const Imported second = Import(LeNetSpec(), {ckpt_ + "/lenet12_v2*"});
  ASSERT_TRUE(second.status.ok()) << second.status.error_message();
  EXPECT_EQ(second.version.version(), 2);
  EXPECT_EQ(second.version.import_report().answering_version(), 1);
  EXPECT_EQ(second.version.import_report().answering_alias(), "stable");
  v1::ImportSpec moving = LeNetSpec();
  moving.add_aliases("stable");
  EXPECT_EQ(
      Import(moving, {ckpt_ + "/lenet12_v2.ckpt"}).version.import_report().answering_version(), 3);
}

TEST_F(ModelsTest, WithoutRootsNothingIsReadByPath) {
  options_.runtime.model_roots.clear();
  ASSERT_NO_FATAL_FAILURE(Start());
  const Imported imported = Import(LeNetSpec(), {ckpt_ + "/lenet12_v1.ckpt"});
  EXPECT_EQ(imported.status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(imported.status.error_message(), HasSubstr("--model-root"));
}

}  // namespace
}  // namespace zood::server
