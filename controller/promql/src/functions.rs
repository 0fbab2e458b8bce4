//! The list of functions: names, argument types, results. One line each.
//!
//! What they compute is in `evaluate/`; a name is connected with its computation by [`Name`], so a
//! function without a computation does not compile.

use crate::ast::Type::{self, Matrix, Scalar, String as Text, Vector};

/// How many arguments a function takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arity {
    /// As many as there are types.
    Exact,
    /// The last one may be left out, or be repeated up to this many times.
    UpTo(usize),
    /// The last one may be left out or repeated.
    Any,
}

/// A function of the language.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) text: &'static str,
    pub(crate) name: Name,
    pub(crate) args: &'static [Type],
    pub(crate) arity: Arity,
    pub(crate) returns: Type,
}

macro_rules! functions {
    ($($name:ident $text:literal [$($arg:ident),*] $arity:expr => $returns:ident;)*) => {
        /// What a function computes.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Name { $($name),* }

        /// Every function.
        static FUNCTIONS: &[Function] = &[$(Function {
            text: $text,
            name: Name::$name,
            args: &[$($arg),*],
            arity: $arity,
            returns: $returns,
        }),*];
    };
}

use Arity::{Any, Exact, UpTo};

functions! {
    Abs "abs" [Vector] Exact => Vector;
    Absent "absent" [Vector] Exact => Vector;
    AbsentOverTime "absent_over_time" [Matrix] Exact => Vector;
    Acos "acos" [Vector] Exact => Vector;
    Acosh "acosh" [Vector] Exact => Vector;
    Asin "asin" [Vector] Exact => Vector;
    Asinh "asinh" [Vector] Exact => Vector;
    Atan "atan" [Vector] Exact => Vector;
    Atanh "atanh" [Vector] Exact => Vector;
    AvgOverTime "avg_over_time" [Matrix] Exact => Vector;
    Ceil "ceil" [Vector] Exact => Vector;
    Changes "changes" [Matrix] Exact => Vector;
    Clamp "clamp" [Vector, Scalar, Scalar] Exact => Vector;
    ClampMax "clamp_max" [Vector, Scalar] Exact => Vector;
    ClampMin "clamp_min" [Vector, Scalar] Exact => Vector;
    Cos "cos" [Vector] Exact => Vector;
    Cosh "cosh" [Vector] Exact => Vector;
    CountOverTime "count_over_time" [Matrix] Exact => Vector;
    DayOfMonth "day_of_month" [Vector] UpTo(1) => Vector;
    DayOfWeek "day_of_week" [Vector] UpTo(1) => Vector;
    DayOfYear "day_of_year" [Vector] UpTo(1) => Vector;
    DaysInMonth "days_in_month" [Vector] UpTo(1) => Vector;
    Deg "deg" [Vector] Exact => Vector;
    Delta "delta" [Matrix] Exact => Vector;
    Deriv "deriv" [Matrix] Exact => Vector;
    DoubleExponentialSmoothing "double_exponential_smoothing" [Matrix, Scalar, Scalar] Exact => Vector;
    End "end" [] Exact => Scalar;
    Exp "exp" [Vector] Exact => Vector;
    FirstOverTime "first_over_time" [Matrix] Exact => Vector;
    Floor "floor" [Vector] Exact => Vector;
    HistogramAvg "histogram_avg" [Vector] Exact => Vector;
    HistogramCount "histogram_count" [Vector] Exact => Vector;
    HistogramFraction "histogram_fraction" [Scalar, Scalar, Vector] Exact => Vector;
    HistogramQuantile "histogram_quantile" [Scalar, Vector] Exact => Vector;
    HistogramQuantiles "histogram_quantiles" [Vector, Text, Scalar, Scalar] UpTo(10) => Vector;
    HistogramStddev "histogram_stddev" [Vector] Exact => Vector;
    HistogramStdvar "histogram_stdvar" [Vector] Exact => Vector;
    HistogramSum "histogram_sum" [Vector] Exact => Vector;
    HoltWinters "holt_winters" [Matrix, Scalar, Scalar] Exact => Vector;
    Hour "hour" [Vector] UpTo(1) => Vector;
    Idelta "idelta" [Matrix] Exact => Vector;
    Increase "increase" [Matrix] Exact => Vector;
    Irate "irate" [Matrix] Exact => Vector;
    LabelJoin "label_join" [Vector, Text, Text, Text] Any => Vector;
    LabelReplace "label_replace" [Vector, Text, Text, Text, Text] Exact => Vector;
    LastOverTime "last_over_time" [Matrix] Exact => Vector;
    Ln "ln" [Vector] Exact => Vector;
    Log10 "log10" [Vector] Exact => Vector;
    Log2 "log2" [Vector] Exact => Vector;
    MadOverTime "mad_over_time" [Matrix] Exact => Vector;
    MaxOf "max_of" [Scalar, Scalar] Exact => Scalar;
    MaxOverTime "max_over_time" [Matrix] Exact => Vector;
    MinOf "min_of" [Scalar, Scalar] Exact => Scalar;
    MinOverTime "min_over_time" [Matrix] Exact => Vector;
    Minute "minute" [Vector] UpTo(1) => Vector;
    Month "month" [Vector] UpTo(1) => Vector;
    Pi "pi" [] Exact => Scalar;
    PredictLinear "predict_linear" [Matrix, Scalar] Exact => Vector;
    PresentOverTime "present_over_time" [Matrix] Exact => Vector;
    QuantileOverTime "quantile_over_time" [Scalar, Matrix] Exact => Vector;
    Rad "rad" [Vector] Exact => Vector;
    Range "range" [] Exact => Scalar;
    Rate "rate" [Matrix] Exact => Vector;
    Resets "resets" [Matrix] Exact => Vector;
    Round "round" [Vector, Scalar] UpTo(1) => Vector;
    ScalarOf "scalar" [Vector] Exact => Scalar;
    Sgn "sgn" [Vector] Exact => Vector;
    Sin "sin" [Vector] Exact => Vector;
    Sinh "sinh" [Vector] Exact => Vector;
    Sort "sort" [Vector] Exact => Vector;
    SortByLabel "sort_by_label" [Vector, Text] Any => Vector;
    SortByLabelDesc "sort_by_label_desc" [Vector, Text] Any => Vector;
    SortDesc "sort_desc" [Vector] Exact => Vector;
    Sqrt "sqrt" [Vector] Exact => Vector;
    Start "start" [] Exact => Scalar;
    StddevOverTime "stddev_over_time" [Matrix] Exact => Vector;
    StdvarOverTime "stdvar_over_time" [Matrix] Exact => Vector;
    Step "step" [] Exact => Scalar;
    SumOverTime "sum_over_time" [Matrix] Exact => Vector;
    Tan "tan" [Vector] Exact => Vector;
    Tanh "tanh" [Vector] Exact => Vector;
    Time "time" [] Exact => Scalar;
    Timestamp "timestamp" [Vector] Exact => Vector;
    TsOfFirstOverTime "ts_of_first_over_time" [Matrix] Exact => Vector;
    TsOfLastOverTime "ts_of_last_over_time" [Matrix] Exact => Vector;
    TsOfMaxOverTime "ts_of_max_over_time" [Matrix] Exact => Vector;
    TsOfMinOverTime "ts_of_min_over_time" [Matrix] Exact => Vector;
    VectorOf "vector" [Scalar] Exact => Vector;
    Year "year" [Vector] UpTo(1) => Vector;
}

/// The function of this name; names are written in lower case.
pub(crate) fn find(text: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.text == text)
}
