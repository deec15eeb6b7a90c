// SPDX-License-Identifier: MIT
// The compiled library's files: of nets, of models, of trainings on the straight path, and of numbers.
#include "flowmatch/compiled/instantiate.hpp"
#include "flowmatch/embedded/write_header.hpp"
#include "flowmatch/format/csv.hpp"
#include "flowmatch/format/npy.hpp"
#include "flowmatch/io/checkpoint.hpp"
#include "flowmatch/io/flow_model_file.hpp"
#include "flowmatch/io/model_file.hpp"
#include "flowmatch/io/state_dict.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

#define FLOWMATCH_NET(Net)                                                                  \
  FLOWMATCH_INSTANTIATE void save(const std::string&, const Net&);                          \
  FLOWMATCH_INSTANTIATE void save(const std::string&, const FlowModel<Net>&);               \
  FLOWMATCH_INSTANTIATE FlowModel<Net> load_flow_model(const std::string&);                 \
  FLOWMATCH_INSTANTIATE void load_state_dict(const std::string&, Net&, const TensorNames&); \
  FLOWMATCH_INSTANTIATE void save(const std::string&, const Trainer<Net>&);                 \
  FLOWMATCH_INSTANTIATE void resume(const std::string&, Trainer<Net>&);
FLOWMATCH_NET(VelocityMlp<FLOWMATCH_SCALAR>)
FLOWMATCH_NET(ConditionalVelocityMlp<FLOWMATCH_SCALAR>)
#undef FLOWMATCH_NET
FLOWMATCH_INSTANTIATE VelocityMlp<FLOWMATCH_SCALAR> load_velocity_mlp(const std::string&);
FLOWMATCH_INSTANTIATE ConditionalVelocityMlp<FLOWMATCH_SCALAR> load_conditional_velocity_mlp(const std::string&);
FLOWMATCH_INSTANTIATE void load_state_dict(const std::string&, Mlp<FLOWMATCH_SCALAR>&, const TensorNames&);
FLOWMATCH_INSTANTIATE void write_header(const std::string&, const VelocityMlp<FLOWMATCH_SCALAR>&, const std::string&);

FLOWMATCH_INSTANTIATE Matrix<FLOWMATCH_SCALAR> load_npy(const std::string&);
FLOWMATCH_INSTANTIATE void save_npy(const std::string&, const Eigen::MatrixBase<Matrix<FLOWMATCH_SCALAR>>&);
FLOWMATCH_INSTANTIATE Table<FLOWMATCH_SCALAR> load_csv(const std::string&, const CsvOptions&);
FLOWMATCH_INSTANTIATE void save_csv(const std::string&, const Table<FLOWMATCH_SCALAR>&);

}
}
