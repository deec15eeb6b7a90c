// SPDX-License-Identifier: MIT
#include <algorithm>
#include <flowmatch/field/conditional_velocity_mlp.hpp>
#include <flowmatch/path/further_schedules.hpp>
#include <flowmatch/train/trainer.hpp>
#include <initializer_list>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/allocations.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;
using fm::Index;

namespace {

bool contains(const std::string& text, std::initializer_list<const char*> parts) {
  return std::all_of(parts.begin(), parts.end(), [&](const char* part) { return text.find(part) != text.npos; });
}

template <class Scalar> struct Problem {
  fm::Rng rng{71};
  fm::Matrix<Scalar> data, c;
  fm::VelocityMlp<Scalar> net;  // large enough that two threads share a batch of 300

  explicit Problem(Index condition_dim = 0, Index samples = 700)
      : data(test::normal<Scalar>(rng, 2, samples)),
        c(test::normal<Scalar>(rng, condition_dim, samples)),
        net({.dim = 2, .condition_dim = condition_dim, .hidden = {64, 64}, .time_frequencies = 2}, rng) {}
};

/// The loop as one writes it by hand; returns the average, or the last weights if there is none.
template <class Scalar>
fm::Vector<Scalar> by_hand(fm::VelocityMlp<Scalar>& net, const fm::Matrix<Scalar>& data, const fm::Matrix<Scalar>& c,
                           fm::Rng& rng, const fm::TrainerOptions& o) {
  fm::LinearPath path;
  fm::FlowMatchingLoss loss(net);
  fm::AdamW adam(net.parameters(), {.learning_rate = o.learning_rate, .weight_decay = o.weight_decay});
  fm::Ema ema(net.parameters(), {.decay = o.ema_decay});
  const fm::CosineRate rate{.peak = o.learning_rate, .warmup = o.warmup, .steps = o.steps};
  fm::Epoch epoch(data.cols());
  fm::Matrix<Scalar> x0(2, o.batch), x1, condition, x_t, u_t;
  fm::RowVector<Scalar> t(o.batch);
  fm::Vector<Scalar> gradient;
  for (Index step = 0; step < o.steps; ++step) {
    const auto indices = epoch.draw(rng, o.batch);
    fm::take_columns(data, indices, x1);
    fm::take_columns(c, indices, condition);
    fm::fill_normal(rng, x0);
    fm::fill_uniform(rng, t);
    path.sample(x0, x1, t, x_t, u_t);
    loss(net, x_t, t, condition, u_t, gradient);
    if (o.clip_norm > 0) fm::clip_norm(gradient, o.clip_norm);
    if (o.cosine) adam.options.learning_rate = rate(step);
    adam.step(net.parameters(), gradient);
    ema.update(net.parameters());
  }
  return o.ema_decay > 0 ? ema.parameters() : fm::Vector<Scalar>(net.parameters());
}

/// A net whose backward pass puts a NaN into one parameter's gradient from its bad-th call on.
struct Poisoned : fm::VelocityMlp<float> {
  Index place;
  int bad;
  mutable int calls = 0;
  Poisoned(const fm::VelocityMlp<float>& net, Index place_, int bad_)
      : fm::VelocityMlp<float>(net), place(place_), bad(bad_) {}
  void backward(fm::MatrixIn<float> dv, Workspace& w, fm::VectorRef<float> gradient) const {
    fm::VelocityMlp<float>::backward(dv, w, gradient);
    if (++calls >= bad) gradient(place) = std::numeric_limits<float>::quiet_NaN();
  }
};

/// v = p_0, or an exception from its `bad`-th tile on; its parameters have no names.
struct Failing {
  using Scalar = double;
  struct Workspace {};
  Eigen::VectorXd p = Eigen::VectorXd::Zero(1);
  int bad;
  bool invalid = false;
  mutable int calls = 0;
  Index dim() const { return 1; }
  Index condition_dim() const { return 0; }
  Eigen::VectorXd& parameters() { return p; }
  const Eigen::VectorXd& parameters() const { return p; }
  void forward(const auto&, const auto&, const auto&, auto&& v, Workspace&) const {
    if (++calls >= bad && invalid) throw std::invalid_argument("not my day");
    if (calls >= bad) throw std::runtime_error("out of range");
    v.setConstant(p(0));
  }
  void backward(const auto& dv, Workspace&, auto&& gradient) const { gradient(0) += dv.sum(); }
};

template <class Net> std::string run_message(fm::Trainer<Net>& trainer, const fm::Matrix<typename Net::Scalar>& data) {
  fm::Rng rng(1);
  return test::message_of<std::runtime_error>([&] { trainer.run(data, rng); });
}

}

TEMPLATE_TEST_CASE("the trainer gives the bits of the loop by hand", "[train][trainer]", float, double) {
  using Scalar = TestType;
  const std::vector<fm::TrainerOptions> cases = {
      {.steps = 12, .batch = 300, .ema_decay = 0},
      {.steps = 12, .batch = 300, .learning_rate = 1e-2, .warmup = 4, .cosine = true, .ema_decay = 0},
      {.steps = 12, .batch = 300, .weight_decay = 0.1, .clip_norm = 0.3, .ema_decay = 0.9},
      {.steps = 4, .batch = 1500, .clip_norm = 100},  // more than the data
  };
  for (const fm::TrainerOptions& options : cases)
    for (Index condition_dim : {0, 3})
      for (int threads : {0, 1, 2}) {
        Problem<Scalar> p(condition_dim), q(condition_dim);
        const fm::Vector<Scalar> want = by_hand(p.net, p.data, p.c, p.rng, options);
        fm::Threads team(std::max(threads, 1));
        auto trainer = threads ? fm::Trainer(q.net, options, team) : fm::Trainer(q.net, options);
        const fm::TrainingReport report = condition_dim ? trainer.run(q.data, q.c, q.rng) : trainer.run(q.data, q.rng);
        CAPTURE(condition_dim, threads);
        CHECK(q.net.parameters() == want);
        CHECK(trainer.last() == p.net.parameters());
        if (options.ema_decay > 0) CHECK(trainer.averaged() == want);
        CHECK(q.rng == p.rng);
        CHECK(report.steps == options.steps);
      }
}

TEMPLATE_TEST_CASE("the trainer drops conditions with the bits of the loop by hand", "[train][trainer]", float,
                   double) {
  using Scalar = TestType;
  for (const double probability : {0., 0.3, 1.}) {
    Problem<Scalar> p(2);
    for (Index j = 0; j < p.c.cols(); ++j) p.c(0, j) = Scalar(j % 3);
    fm::ConditionalVelocityMlp<Scalar> net({.dim = 2, .classes = 3, .vector_dim = 1, .hidden = {16}}, p.rng),
        by_hand = net;
    fm::Rng rng = p.rng, again = p.rng;
    fm::Trainer trainer(net, {.steps = 10, .batch = 300, .drop_condition = probability, .ema_decay = 0});
    trainer.run(p.data, p.c, rng);

    const fm::Vector<Scalar> null = by_hand.null_condition();
    fm::FlowMatchingLoss loss(by_hand);
    fm::AdamW adam(by_hand.parameters(), {.learning_rate = 1e-3, .weight_decay = 0});
    fm::Epoch epoch(p.data.cols());
    fm::Matrix<Scalar> x0(2, 300), x1, c, x_t, u_t;
    fm::RowVector<Scalar> t(300);
    fm::Vector<Scalar> gradient;
    for (int step = 0; step < 10; ++step) {
      const auto indices = epoch.draw(again, 300);
      fm::take_columns(p.data, indices, x1);
      fm::take_columns(p.c, indices, c);
      fm::fill_normal(again, x0);
      if (probability > 0) fm::drop_condition(again, probability, null, c);
      fm::fill_uniform(again, t);
      fm::LinearPath().sample(x0, x1, t, x_t, u_t);
      loss(by_hand, x_t, t, c, u_t, gradient);
      adam.step(by_hand.parameters(), gradient);
    }
    CAPTURE(probability);
    CHECK(net.parameters() == by_hand.parameters());
    CHECK(rng == again);
  }
}

TEST_CASE("a held-out set changes no bit of the training", "[train][trainer]") {
  Problem<float> p(1), q(1);
  const fm::TrainerOptions options{.steps = 10, .batch = 64, .evaluate_every = 3};
  fm::Trainer(p.net, options).run(p.data, p.c, p.rng);
  fm::Trainer trainer(q.net, options);
  fm::Rng other(2);
  trainer.hold_out(test::normal<float>(other, 2, 200), test::normal<float>(other, 2, 200),
                   test::uniform<float>(other, 200), test::normal<float>(other, 1, 200));
  CHECK(trainer.run(q.data, q.c, q.rng).held_out_loss);
  CHECK(p.net.parameters() == q.net.parameters());
  CHECK(p.rng == q.rng);
}

TEST_CASE("the held-out loss comes every so many steps and after the last, and is that of the averaged weights",
          "[train][trainer]") {
  for (double ema_decay : {0.0, 0.9}) {
    Problem<float> p;
    fm::Trainer trainer(p.net, {.steps = 10, .batch = 64, .ema_decay = ema_decay, .evaluate_every = 4});
    fm::Rng other(2);
    const Eigen::MatrixXf x0 = test::normal<float>(other, 2, 150), x1 = test::normal<float>(other, 2, 150), c(0, 150);
    const Eigen::RowVectorXf t = test::uniform<float>(other, 150);
    trainer.hold_out(x0, x1, t, c);
    fm::HeldOutLoss by_hand(p.net, fm::LinearPath(), x0, x1, t, c);
    std::vector<Index> steps;
    std::vector<double> losses;
    const fm::TrainingReport report = trainer.run(p.data, p.rng, [&](const fm::TrainingStep& now) {
      if (!now.held_out_loss) return;
      auto net = p.net;
      if (ema_decay > 0) net.set_parameters(trainer.averaged());
      CHECK(*now.held_out_loss == by_hand(net));
      steps.push_back(now.step);
      losses.push_back(*now.held_out_loss);
    });
    CHECK(steps == std::vector<Index>{3, 7, 9});
    CHECK(report.held_out_loss == losses.back());
    CHECK(report.best_held_out_loss == *std::min_element(losses.begin(), losses.end()));
    CHECK(losses.back() == by_hand(p.net));  // as the net is left
  }
}

TEST_CASE("the best held-out loss is the least, where the last is not", "[train][trainer]") {
  // Far too high a rate on few samples: learned by heart, the held-out loss rises again.
  Problem<float> p(0, 8);
  fm::Trainer trainer(p.net, {.steps = 600, .batch = 8, .learning_rate = 2e-2, .ema_decay = 0, .evaluate_every = 20});
  fm::Rng other(2);
  trainer.hold_out(test::normal<float>(other, 2, 200), test::normal<float>(other, 2, 200),
                   test::uniform<float>(other, 200), Eigen::MatrixXf(0, 200));
  double least = std::numeric_limits<double>::infinity();
  const auto report = trainer.run(p.data, p.rng, [&](const fm::TrainingStep& now) {
    if (now.held_out_loss) least = std::min(least, *now.held_out_loss);
  });
  CHECK(report.best_held_out_loss == least);
  CHECK(*report.held_out_loss > least);
}

TEST_CASE("with keep_best the net ends with the weights of the least held-out loss", "[train][trainer]") {
  for (double ema_decay : {0.0, 0.9}) {
    Problem<float> p(0, 8);
    fm::Trainer trainer(p.net, {.steps = 200,
                                .batch = 8,
                                .learning_rate = 2e-2,
                                .ema_decay = ema_decay,
                                .evaluate_every = 10,
                                .keep_best = true});
    fm::Rng other(2), rng(3);
    CHECK(test::message_of<std::invalid_argument>([&] { trainer.run(p.data, rng); }) ==
          "flowmatch: Trainer::run: options.keep_best needs a set that is held out");
    trainer.hold_out(test::normal<float>(other, 2, 200), test::normal<float>(other, 2, 200),
                     test::uniform<float>(other, 200), Eigen::MatrixXf(0, 200));
    double least = std::numeric_limits<double>::infinity();
    Eigen::VectorXf best;
    Index steps = 0;
    const auto report = trainer.run(p.data, rng, [&](const fm::TrainingStep& now) {
      if (!now.held_out_loss || *now.held_out_loss >= least) return;
      least = *now.held_out_loss;
      steps = now.step + 1;
      best = ema_decay > 0 ? trainer.averaged() : Eigen::VectorXf(p.net.parameters());
    });
    CHECK(p.net.parameters() == best);
    CHECK(report.best_held_out_loss == least);
    CHECK(report.best_steps == steps);
    CHECK(steps < 200);
  }
}

TEST_CASE("a state in memory is enough to go on, also in the same trainer", "[train][trainer]") {
  Problem<double> p;
  const fm::TrainerOptions options{.steps = 9, .batch = 64};
  fm::Trainer trainer(p.net, options);
  fm::Rng rng(4);
  fm::TrainingState<double> middle;
  trainer.run(p.data, rng, [&](const fm::TrainingStep& now) {
    if (now.step == 3) middle = trainer.state();
  });
  const Eigen::VectorXd end = p.net.parameters();
  const fm::Rng after = rng;
  for (int again = 0; again < 2; ++again) {
    trainer.resume(middle);
    CHECK(p.net.parameters() == middle.weights);
    CHECK(trainer.state().weights == middle.weights);
    fm::Rng later(4);
    later.position = 1000;  // is moved to where the state was
    CHECK(trainer.run(p.data, later).steps == 9);
    CHECK(p.net.parameters() == end);
    CHECK(later == after);
  }
  CHECK(trainer.run(p.data, rng).steps == 9);  // a training of its own again
  CHECK(p.net.parameters() != end);
}

TEST_CASE("a state that does not fit is refused, and nothing changes", "[train][trainer]") {
  Problem<float> p;
  fm::Trainer trainer(p.net, {.steps = 5, .batch = 64});
  trainer.run(p.data, p.rng);
  const fm::TrainingState<float> good = trainer.state();
  const Eigen::VectorXf parameters = p.net.parameters();
  const auto refused = [&](const auto& change) {
    fm::TrainingState<float> state = good;
    change(state);
    const std::string message = test::message_of<std::invalid_argument>([&] { trainer.resume(state); });
    CHECK(p.net.parameters() == parameters);
    CHECK(trainer.state().m == good.m);
    const std::string start = "flowmatch: Trainer::resume: expected ";
    return message.starts_with(start) ? message.substr(start.size()) : message;
  };
  const std::string size = std::to_string(parameters.size());
  CHECK(refused([](auto& s) { s.m.resize(3); }) == size + " entries in state.m, got 3");
  CHECK(refused([](auto& s) { s.average.resize(0); }) == size + " entries in state.average, got 0");
  CHECK(refused([](auto& s) { s.best = s.m; }) == "0 entries in state.best, got " + size);
  CHECK(refused([](auto& s) { s.report.steps = 6; }) == "options.steps >= 6, got 5");
  CHECK(refused([](auto& s) { s.v(1) = std::numeric_limits<float>::quiet_NaN(); }) ==
        "finite numbers in state.v, got nan in row 1, column 0");
}

TEST_CASE("a held-out fraction is not trained on, and is the same for every run of a seed", "[train][trainer]") {
  // Sample j is the point (j, j): what the net is trained on is read off the batches, through the condition.
  constexpr Index samples = 100;
  Eigen::MatrixXf data(2, samples);
  for (Index j = 0; j < samples; ++j) data.col(j).setConstant(float(j));
  struct Recording : fm::VelocityMlp<float> {
    std::set<float>* seen;
    void forward(fm::MatrixIn<float> x, fm::RowVectorIn<float> t, fm::MatrixIn<float> c, fm::MatrixRef<float> v,
                 Workspace& w) const {
      if (seen) seen->insert(c.data(), c.data() + c.size());
      fm::VelocityMlp<float>::forward(x, t, c, v, w);
    }
  };
  const Eigen::MatrixXf c = data.topRows(1);
  const auto trained_on = [&](fm::Rng rng, Index width) {
    fm::Rng weights(3);
    std::set<float> seen;
    Recording net{fm::VelocityMlp<float>({.dim = 2, .condition_dim = 1, .hidden = {width}}, weights), &seen};
    fm::Trainer trainer(net, {.steps = 12, .batch = 10, .held_out = 0.25, .evaluate_every = 12});
    std::set<float> training;
    trainer.run(data, c, rng, [&](const fm::TrainingStep& now) {
      if (now.step == 10) training = seen, seen.clear();  // before the held-out loss; 11 steps are more than a pass
    });
    std::set<float> both = training;
    both.insert(seen.begin(), seen.end());
    CHECK(both.size() == 100);  // the held-out samples are all others
    return training;
  };
  const auto first = trained_on(fm::Rng(5), 4);
  CHECK(first.size() == 75);
  fm::Rng later(5);
  later.position = 400;
  CHECK(trained_on(later, 8) == first);
  CHECK(trained_on(fm::Rng(6), 4) != first);
  CHECK(*first.rbegin() - *first.begin() > 90);  // not one end of the data
}

TEST_CASE("the samples of a pass come without replacement", "[train][trainer]") {
  Eigen::MatrixXf data(1, 40);
  for (Index j = 0; j < 40; ++j) data(0, j) = float(j);
  std::multiset<float> seen;
  struct Recording : fm::VelocityMlp<float> {
    std::multiset<float>* seen;
    void forward(fm::MatrixIn<float> x, fm::RowVectorIn<float> t, fm::MatrixIn<float> c, fm::MatrixRef<float> v,
                 Workspace& w) const {
      seen->insert(c.data(), c.data() + c.size());
      fm::VelocityMlp<float>::forward(x, t, c, v, w);
    }
  };
  fm::Rng rng(4);
  Recording net{fm::VelocityMlp<float>({.dim = 1, .condition_dim = 1, .hidden = {4}}, rng), &seen};
  fm::Trainer(net, {.steps = 12, .batch = 10}).run(data, data, rng);
  for (Index j = 0; j < 40; ++j) CHECK(seen.count(float(j)) == 3);
}

TEST_CASE("a fill gives the bits of the data it draws, and any pairs and conditions", "[train][trainer]") {
  Problem<float> p(1), q(1);
  const fm::TrainerOptions options{.steps = 8, .batch = 50};
  fm::Trainer(p.net, options).run(p.data, p.c, p.rng);
  fm::Epoch epoch(q.data.cols());
  const auto fill = [&](fm::Rng& rng, Eigen::MatrixXf& x0, Eigen::MatrixXf& x1, Eigen::MatrixXf& c) {
    CHECK((x0.rows() == 2 && x0.cols() == 50 && x1.rows() == 2 && x1.cols() == 50 && c.rows() == 1 && c.cols() == 50));
    const auto indices = epoch.draw(rng, 50);
    fm::take_columns(q.data, indices, x1);
    fm::take_columns(q.c, indices, c);
    fm::fill_normal(rng, x0);
  };
  fm::Trainer(q.net, options).run(fill, q.rng);
  CHECK(p.net.parameters() == q.net.parameters());
  CHECK(p.rng == q.rng);

  // Pairs x1 = x0 + 3, on another path than the default: the velocity is 3 everywhere.
  fm::Rng rng(3);
  fm::VelocityMlp net({.dim = 1, .hidden = {8}}, rng);
  fm::Trainer pairs(net, {.steps = 600, .batch = 64, .learning_rate = 1e-2}, fm::AffinePath<fm::LinearSchedule>());
  pairs.run(
      [](fm::Rng& r, auto& x0, auto& x1, auto&) {
        fm::fill_normal(r, x0);
        x1 = x0.array() + 3;
      },
      rng);
  Eigen::MatrixXf v(1, 1);
  net(Eigen::MatrixXf::Constant(1, 1, 0.5f), Eigen::RowVectorXf::Constant(1, 0.5f), Eigen::MatrixXf(0, 1), v);
  CHECK_THAT(double(v(0, 0)), WithinAbs(3, 0.1));  // 3 can be learned exactly; Adam circles it by about its rate
}

TEST_CASE("the observer sees each step, and stops the training by false", "[train][trainer]") {
  Problem<double> p;
  fm::Trainer trainer(p.net, {.steps = 10, .batch = 64, .learning_rate = 1e-2, .warmup = 4, .cosine = true});
  std::vector<fm::TrainingStep> seen;
  const fm::CosineRate rate{.peak = 1e-2, .warmup = 4, .steps = 10};
  Eigen::VectorXd weights, average;
  const auto report = trainer.run(p.data, p.rng, [&](const fm::TrainingStep& now) {
    seen.push_back(now);
    weights = p.net.parameters();
    average = trainer.averaged();
    return now.step < 6;
  });
  REQUIRE(seen.size() == 7);
  for (std::size_t k = 0; k < 7; ++k) {
    CHECK(seen[k].step == Index(k));
    CHECK(seen[k].learning_rate == rate(Index(k)));
    CHECK(seen[k].loss > 0);
    CHECK(seen[k].gradient_norm > 0);
    CHECK_FALSE(seen[k].held_out_loss);
  }
  CHECK(report.steps == 7);
  CHECK(report.loss == seen.back().loss);
  CHECK_FALSE(report.held_out_loss);
  CHECK_FALSE(report.best_held_out_loss);
  CHECK(trainer.last() == weights);
  CHECK(p.net.parameters() == average);
  CHECK(average != weights);
}

TEST_CASE("the gradient's norm is that before clipping, with and without", "[train][trainer]") {
  for (double clip : {0.0, 1e-3}) {
    Problem<double> p, q;
    double norm = 0;
    fm::Trainer(p.net, {.steps = 1, .batch = 64, .clip_norm = clip}).run(p.data, p.rng, [&](const auto& now) {
      norm = now.gradient_norm;
    });
    fm::Epoch epoch(q.data.cols());
    fm::FlowMatchingLoss loss(q.net);
    Eigen::MatrixXd x0(2, 64), x1, x_t, u_t;
    Eigen::RowVectorXd t(64);
    Eigen::VectorXd gradient;
    fm::take_columns(q.data, epoch.draw(q.rng, 64), x1);
    fm::fill_normal(q.rng, x0);
    fm::fill_uniform(q.rng, t);
    fm::LinearPath().sample(x0, x1, t, x_t, u_t);
    loss(q.net, x_t, t, u_t, gradient);
    CHECK_THAT(norm, WithinAbs(gradient.norm(), 1e-12));
  }
}

TEST_CASE("each run is a training of its own, from the weights that the net has", "[train][trainer]") {
  Problem<float> p, q;
  const fm::TrainerOptions options{.steps = 5, .batch = 64, .warmup = 3};
  fm::Trainer trainer(p.net, options);
  trainer.run(p.data, p.rng);
  trainer.run(p.data, p.rng);
  fm::Trainer(q.net, options).run(q.data, q.rng);
  fm::Trainer(q.net, options).run(q.data, q.rng);
  CHECK(p.net.parameters() == q.net.parameters());
}

TEST_CASE("a gradient that is not finite ends the training with step, layer and rate, before the step is taken",
          "[train][trainer]") {
  Problem<float> p;
  const auto& block = p.net.parameter_blocks()[3];
  for (Index place : {block.offset, block.offset + block.size() - 1}) {
    Poisoned net(p.net, place, 5), good(p.net, place, 1000);
    fm::Rng rng(1);
    fm::Trainer(good, {.steps = 4, .batch = 100, .learning_rate = 0.25, .ema_decay = 0}).run(p.data, rng);
    fm::Trainer trainer(net, {.steps = 9, .batch = 100, .learning_rate = 0.25});
    CHECK(
        run_message(trainer, p.data) ==
        "flowmatch: Trainer::run: training diverged in step 4 (learning rate 0.25, layer layers.1.bias): the gradient "
        "is not finite");
    CHECK(net.parameters() == good.parameters());
    fm::Trainer clipped(net, {.steps = 9, .batch = 100, .clip_norm = 1});
    CHECK(contains(run_message(clipped, p.data), {"in step 0", "layer layers.1.bias"}));
    CHECK(net.parameters() == good.parameters());
  }
}

TEMPLATE_TEST_CASE("a loss that is not finite ends the training likewise", "[train][trainer]", float, double) {
  using Scalar = TestType;
  Problem<Scalar> p;
  // 1e30 a step: the weights are finite after the first, and the next loss overflows (in double after 1e200).
  const double rate = sizeof(Scalar) == 4 ? 1e30 : 1e200;
  fm::Trainer trainer(p.net, {.steps = 9, .batch = 300, .learning_rate = rate});
  const std::string message = run_message(trainer, p.data);
  CHECK(contains(message, {"flowmatch: Trainer::run: training diverged in step 1 (learning rate 1e+",
                           "layer layers.0.weight", "FlowMatchingLoss: the loss is"}));
  CHECK(fm::all_finite(p.net.parameters().data(), p.net.parameters().size()));
  CHECK(test::largest(p.net.parameters()) > Scalar(rate / 2));  // those after step 0
}

TEST_CASE("weights that overflow in a step are taken back", "[train][trainer]") {
  for (double ema_decay : {0.0, 0.9}) {
    Problem<float> p;
    const Eigen::VectorXf before = p.net.parameters();
    fm::Trainer trainer(p.net, {.steps = 9, .batch = 300, .learning_rate = 1e39, .ema_decay = ema_decay});
    CHECK(run_message(trainer, p.data) ==
          "flowmatch: Trainer::run: training diverged in step 0 (learning rate 1e+39, layer layers.0.weight): the step "
          "makes weights infinite");
    CHECK(p.net.parameters() == before);
    // Adam's means hold the step that was taken back: no state to go on from.
    CHECK(test::message_of<std::invalid_argument>([&] { trainer.state(); }) ==
          "flowmatch: Trainer::state: the run diverged: resume an earlier state");
    fm::Rng rng(1);
    const auto none = [](const fm::TrainingStep&) { return false; };
    fm::Trainer calm(p.net, {.steps = 1, .batch = 300});
    calm.run(p.data, rng, none);
    trainer.resume(fm::Trainer(p.net, {.ema_decay = ema_decay}).state());
    CHECK(trainer.state().report.steps == 0);
  }
}

TEST_CASE("training that diverges leaves finite weights, whatever the rate", "[train][trainer]") {
  int diverged = 0;
  for (int exponent = 0; exponent < 40; exponent += 3) {
    Problem<float> p(0, 50);
    fm::Trainer trainer(
        p.net,
        {.steps = 40, .batch = 50, .learning_rate = std::pow(10.0, exponent), .held_out = 0.2, .evaluate_every = 1});
    diverged += run_message(trainer, p.data) != "nothing thrown";
    CHECK(fm::all_finite(p.net.parameters().data(), p.net.parameters().size()));
  }
  CHECK(diverged > 5);
}

namespace {

/// The loop by hand with any path and times, plain Adam and no average.
template <class P, class T>
Eigen::VectorXf by_hand(fm::VelocityMlp<float> net, const Eigen::MatrixXf& data, const P& path, const T& times) {
  fm::FlowMatchingLoss loss(net);
  fm::Adam adam(net.parameters());
  fm::Epoch epoch(data.cols());
  fm::Rng rng(5);
  Eigen::MatrixXf x0(2, 64), x1, none(0, 64), x_t, u_t;
  Eigen::RowVectorXf t(64), weights(64);
  Eigen::VectorXf gradient;
  for (int step = 0; step < 5; ++step) {
    fm::take_columns(data, epoch.draw(rng, 64), x1);
    if constexpr (!fm::PathFromNoise<P>) fm::fill_normal(rng, x0);
    times(rng, t);
    if constexpr (fm::PathFromNoise<P>)
      path.sample(rng, x1, t, x_t, u_t);
    else if constexpr (fm::NoisyPath<P>)
      path.sample(rng, x0, x1, t, x_t, u_t);
    else
      path.sample(x0, x1, t, x_t, u_t);
    if constexpr (requires { times.weight; }) {
      for (Index j = 0; j < 64; ++j) weights(j) = float(times.weight(double(t(j))));
      loss(net, x_t, t, none, u_t, weights, gradient);
    } else {
      loss(net, x_t, t, u_t, gradient);
    }
    adam.step(net.parameters(), gradient);
  }
  return net.parameters();
}

template <class P, class T>
Eigen::VectorXf trained(fm::VelocityMlp<float> net, const Eigen::MatrixXf& data, const P& path, const T& times,
                        double held_out = 0) {
  fm::Rng rng(5);
  fm::Trainer trainer(net, {.steps = 5, .batch = 64, .ema_decay = 0, .held_out = held_out}, path, times);
  const fm::TrainingReport report = trainer.run(data, rng);
  CHECK(report.held_out_loss.has_value() == (held_out > 0));
  return net.parameters();
}

/// Whether a Trainer on path P takes a fill and a held-out set with starts of its own.
template <class P>
concept TakesStarts = requires(fm::Trainer<fm::VelocityMlp<float>, P>& trainer, fm::Rng& rng,
                               void (*fill)(fm::Rng&, Eigen::MatrixXf&, Eigen::MatrixXf&, Eigen::MatrixXf&)) {
  trainer.run(fill, rng);
};
static_assert(TakesStarts<fm::LinearPath> && TakesStarts<fm::BridgePath> && !TakesStarts<fm::LipmanPath>);

}

TEST_CASE("with any path and any times the trainer gives the bits of the loop by hand", "[train][trainer]") {
  const Problem<float> p;
  const auto check = [&](const auto& path, const auto& times) {
    const Eigen::VectorXf weights = trained(p.net, p.data, path, times);
    CHECK(weights == by_hand(p.net, p.data, path, times));
    CHECK(weights != p.net.parameters());
  };
  const fm::LinearPath linear;
  check(linear, fm::UniformTime{});
  check(linear, fm::StratifiedTime{});
  check(linear, fm::LogitNormalTime{});
  check(linear, fm::BetaTime{.a = 2, .b = 3});
  check(linear, fm::WeightedTime<fm::StratifiedTime, fm::CosineMapWeight>{});
  check(fm::CosinePath{}, fm::UniformTime{});
  check(fm::ConstantSigmaPath{}, fm::UniformTime{});
  check(fm::BridgePath{}, fm::ModeTime{});
  check(fm::LipmanPath{}, fm::PowerTime{.exponent = 1});
}

TEST_CASE("a weight of times counts, and a held-out fraction works for every kind of path", "[train][trainer]") {
  const Problem<float> p;
  const fm::LinearPath linear;
  CHECK(trained(p.net, p.data, linear, fm::WeightedTime<fm::UniformTime, fm::InverseVarianceWeight>{}) !=
        trained(p.net, p.data, linear, fm::UniformTime{}));
  const auto one = [](double) { return 1.0; };
  CHECK(trained(p.net, p.data, linear, fm::WeightedTime<fm::UniformTime, decltype(one)>{{}, one}) ==
        trained(p.net, p.data, linear, fm::UniformTime{}));
  trained(p.net, p.data, fm::BridgePath{}, fm::UniformTime{}, 0.2);
  trained(p.net, p.data, fm::LipmanPath{}, fm::UniformTime{}, 0.2);
  const auto negative = [](double) { return -1.0; };
  CHECK(contains(test::message_of<std::invalid_argument>([&] {
                   trained(p.net, p.data, linear, fm::WeightedTime<fm::UniformTime, decltype(negative)>{{}, negative});
                 }),
                 {"expected weights >= 0, got -1"}));
}

TEST_CASE("a held-out loss that is not finite ends the training with the weights of the step", "[train][trainer]") {
  Problem<float> p;
  Eigen::VectorXf weights;
  fm::Trainer trainer(p.net, {.steps = 9, .batch = 64, .evaluate_every = 3});
  const Eigen::MatrixXf far = Eigen::MatrixXf::Constant(2, 5, 1e30f);
  trainer.hold_out(far, far, Eigen::RowVectorXf::Zero(5), Eigen::MatrixXf(0, 5));
  fm::Rng rng(1);
  const auto remember = [&](const fm::TrainingStep&) { weights = p.net.parameters(); };
  const std::string message = test::message_of<std::runtime_error>([&] { trainer.run(p.data, rng, remember); });
  CHECK(contains(message, {"in step 2 (learning rate 0.001): flowmatch: HeldOutLoss: the loss is"}));
  CHECK(p.net.parameters() != weights);  // those of step 2, which the observer did not get to see
  CHECK(p.net.parameters() != trainer.averaged());
  CHECK(test::largest(p.net.parameters() - weights) < 0.01f);
}

TEST_CASE("an error of a field that says nothing of divergence keeps its text or its type", "[train][trainer]") {
  const Eigen::MatrixXd data = Eigen::MatrixXd::Ones(1, 20);
  Failing field{.bad = 3};
  fm::Trainer trainer(field, {.batch = 20});
  CHECK(run_message(trainer, data) ==
        "flowmatch: Trainer::run: training diverged in step 2 (learning rate 0.001): out of range");
  Failing invalid{.bad = 3, .invalid = true};
  fm::Trainer other(invalid, {.batch = 20});
  fm::Rng rng(1);
  CHECK(test::message_of<std::invalid_argument>([&] { other.run(data, rng); }) == "not my day");
  const auto broken = [](fm::Rng&, auto&, auto&, auto&) { throw std::runtime_error("no such file"); };
  CHECK(test::message_of<std::runtime_error>([&] { other.run(broken, rng); }) == "no such file");
}

TEST_CASE("after the first step the trainer allocates nothing", "[train][trainer]") {
  for (int threads : {1, 2}) {
    Problem<float> p(1, 2000);
    fm::Threads team(threads);
    fm::Trainer trainer(p.net, {.steps = 30, .batch = 300, .clip_norm = 1, .held_out = 0.1, .evaluate_every = 2}, team);
    long at_second = 0, at_end = 0;
    Index calls = 0;
    const auto count = [&](const fm::TrainingStep& now) {  // the second step has the first held-out loss
      if (now.step == 1) at_second = test::detail::allocation_count_of_all;
      at_end = test::detail::allocation_count_of_all;
      ++calls;
    };
    trainer.run(p.data, p.c, p.rng, count);
    CHECK(calls == 30);
    CHECK(at_end == at_second);
    if (test::counts_allocations) CHECK(at_second > 0);
  }
}

TEST_CASE("the trainer refuses options out of range", "[train][trainer]") {
  Problem<float> p;
  const auto message = [&](const fm::TrainerOptions& options) {
    return test::message_of<std::invalid_argument>([&] { fm::Trainer trainer(p.net, options); });
  };
  const std::string expected = "flowmatch: Trainer: expected options.";
  CHECK(message({.steps = 0}) == expected + "steps >= 1, got 0");
  CHECK(message({.batch = 0}) == expected + "batch >= 1, got 0");
  CHECK(message({.learning_rate = -1}) == expected + "learning_rate >= 0, got -1");
  CHECK(message({.learning_rate = NAN}) == expected + "learning_rate >= 0, got nan");
  CHECK(message({.warmup = -1}) == expected + "warmup >= 0, got -1");
  CHECK(message({.weight_decay = -1}) == expected + "weight_decay >= 0, got -1");
  CHECK(message({.clip_norm = -1}) == expected + "clip_norm >= 0, got -1");
  CHECK(message({.ema_decay = 1}) == expected + "ema_decay in [0, 1), got 1");
  CHECK(message({.drop_condition = -0.1}) == expected + "drop_condition in [0, 1], got -0.1");
  CHECK(message({.drop_condition = 1.1}) == expected + "drop_condition in [0, 1], got 1.1");
  CHECK(message({.drop_condition = 0.1}) ==
        "flowmatch: Trainer: expected a net with null_condition() for options.drop_condition = 0.1");
  CHECK(message({.held_out = 1}) == expected + "held_out in [0, 1), got 1");
  CHECK(message({.evaluate_every = 0}) == expected + "evaluate_every >= 1, got 0");
}

TEST_CASE("the trainer refuses what it cannot train on, and leaves the net as it was", "[train][trainer]") {
  Problem<float> p(1);
  const Eigen::VectorXf before = p.net.parameters();
  fm::Trainer trainer(p.net, {.batch = 20}), fraction(p.net, {.batch = 20, .held_out = 0.001});
  fm::Rng rng(1);
  const auto message = [](const auto& f) { return test::message_of<std::invalid_argument>(f); };
  Eigen::MatrixXf nan = p.data, nan_c = p.c;
  nan(1, 3) = NAN;
  nan_c(0, 2) = NAN;
  const std::string run = "flowmatch: Trainer::run: ";
  CHECK(message([&] { trainer.run(p.data, rng); }) == run + "expected 1 rows in c, got 0");
  CHECK(message([&] { trainer.run(p.data, p.c.leftCols(9), rng); }) == run + "expected 700 columns in c, got 9");
  CHECK(message([&] { trainer.run(p.data.topRows(1), p.c, rng); }) == run + "expected 2 rows in data, got 1");
  CHECK(message([&] { trainer.run(p.data.leftCols(0), p.c.leftCols(0), rng); }) ==
        run + "expected data.cols() >= 1, got 0");
  CHECK(message([&] { trainer.run(nan, p.c, rng); }) ==
        run + "expected finite numbers in data, got nan in row 1, column 3");
  CHECK(message([&] { trainer.run(p.data, nan_c, rng); }) ==
        run + "expected finite numbers in c, got nan in row 0, column 2");
  CHECK(message([&] { fraction.run(p.data, p.c, rng); }) ==
        run + "expected options.held_out to be at least one of 700 samples");
  CHECK(rng == fm::Rng(1));

  const auto fill = [](fm::Rng&, auto& x0, auto& x1, auto& c) {
    x0.setZero(), x1.setZero();
    c.setZero(1, 7);
  };
  CHECK(contains(message([&] { fraction.run(fill, rng); }), {"options.held_out is a fraction of data"}));
  CHECK(message([&] { trainer.run(fill, rng); }) == "flowmatch: FlowMatchingLoss: expected 20 columns in c, got 7");
  CHECK(message([&] { fraction.hold_out(p.data, p.data, Eigen::RowVectorXf::Zero(700), p.c); }) ==
        "flowmatch: Trainer::hold_out: expected options.held_out = 0 beside a set of hold_out, got 0.001");
  fm::Trainer no_average(p.net, {.ema_decay = 0});
  CHECK(message([&] { no_average.averaged(); }) ==
        "flowmatch: Trainer::averaged: there is no average, since options.ema_decay is 0");
  CHECK(p.net.parameters() == before);
  p.net.parameters()(5) = NAN;
  CHECK(message([&] { trainer.run(p.data, p.c, rng); }) ==
        run + "expected finite numbers in net.parameters(), got nan in row 5, column 0");
}
